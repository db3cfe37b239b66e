package conductor

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// joins is a request to join with a token, of the board that the seed makes.
func (l *lab) joins(token s4t.FleetToken, seed int, name, host string) (wire.BoardJoined, error) {
	l.t.Helper()
	j, err := s4t.ParseJoin(token.Join)
	if err != nil {
		l.t.Fatal(err)
	}
	key := bytes.Repeat([]byte{byte(seed), byte(seed >> 8)}, ed25519.PublicKeySize/2)
	req := wire.BoardJoin{Code: j.Code, PublicKey: key, Name: name, Host: host}
	if _, err := try[wire.Empty](l, wire.MethodBoardJoinCheck, req); s4t.KindOf(err) == s4t.Unauthenticated {
		return wire.BoardJoined{}, err
	}
	return try[wire.BoardJoined](l, wire.MethodBoardJoin, req)
}

func (l *lab) fleetToken(count int) s4t.FleetToken {
	l.t.Helper()
	return call[s4t.FleetToken](l, wire.MethodFleetTokenCreate, wire.FleetTokenCreate{Caller: l.member, Fleet: "lamps", Count: count})
}

func TestBoardsJoinAFleetWithOneToken(t *testing.T) {
	l := newLab(t)
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps"})
	token := l.fleetToken(4)
	hall, err := l.joins(token, 1, "hall", "raspberrypi")
	if err != nil || hall.Name != "hall" || len(hall.TicketKey) == 0 {
		t.Fatalf("%+v, %v", hall, err)
	}
	if again, err := l.joins(token, 1, "hall", "raspberrypi"); err != nil || again.Board != hall.Board {
		t.Errorf("a join that is tried again: %+v, %v", again, err)
	}
	if _, err := l.joins(token, 2, "hall", ""); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "--name") {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := l.joins(token, 2, "", ""); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("no name at all: %v", err)
	}
	if _, err := l.joins(token, 2, "", "not a name"); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("a host with a name that is none: %v", err)
	}
	first, err := l.joins(token, 2, "", "raspberrypi")
	if err != nil || first.Name != "raspberrypi" {
		t.Errorf("%+v, %v", first, err)
	}
	second, err := l.joins(token, 3, "", "raspberrypi")
	if err != nil || !strings.HasPrefix(second.Name, "raspberrypi-") {
		t.Errorf("a host's name that is taken: %+v, %v", second, err)
	}
	f := call[s4t.Fleet](l, wire.MethodFleetGet, wire.RefRequest{Caller: l.reader, Ref: "lamps"})
	if len(f.Boards) != 3 || !slices.Contains(f.Named, hall.Board) {
		t.Errorf("%+v", f)
	}
	list := items[s4t.FleetToken](l, wire.MethodFleetTokenList, wire.FleetTokenList{Caller: l.reader, Fleet: "lamps"})
	if len(list) != 1 || list[0].Used != 3 || list[0].Count != 4 || list[0].Join != "" || list[0].User != "mia" {
		t.Errorf("%+v", list)
	}
	if got := l.auditOf("board.join"); strings.Count(got, "token "+string(token.ID)) != 3 {
		t.Error(got)
	}
	l.await("board.joined", "hall")
	for _, caller := range []wire.Caller{l.foreign} {
		refusedAs[s4t.FleetToken](l, wire.MethodFleetTokenCreate, wire.FleetTokenCreate{Caller: caller, Fleet: string(f.ID)}, s4t.NotFound, "")
		refusedAs[wire.Empty](l, wire.MethodFleetTokenRevoke, wire.FleetTokenRevoke{Caller: caller, Fleet: string(f.ID), Token: token.ID}, s4t.NotFound, "")
	}
	refusedAs[s4t.FleetToken](l, wire.MethodFleetTokenCreate, wire.FleetTokenCreate{Caller: l.reader, Fleet: "lamps"}, s4t.Forbidden, "")
	refusedAs[s4t.FleetToken](l, wire.MethodFleetTokenCreate, wire.FleetTokenCreate{Caller: l.member, Fleet: "lamps", Count: -1}, s4t.Invalid, "")
	refusedAs[wire.Empty](l, wire.MethodFleetTokenRevoke, wire.FleetTokenRevoke{Caller: l.member, Fleet: "lamps", Token: "nothing"}, s4t.NotFound, "token list")

	// A board that left does not come back by its old key, and one that was deleted stays counted.
	call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "raspberrypi"})
	if b, err := l.joins(token, 2, "", "raspberrypi"); err != nil || b.Name != "raspberrypi" {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := l.joins(token, 9, "nine", ""); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "4 boards") {
		t.Errorf("one too many: %v", err)
	}
	call[wire.Empty](l, wire.MethodFleetTokenRevoke, wire.FleetTokenRevoke{Caller: l.member, Fleet: "lamps", Token: token.ID})
	if _, err := l.joins(token, 1, "hall", ""); s4t.KindOf(err) != s4t.Unauthenticated {
		t.Errorf("a token that was revoked: %v", err)
	}
	if l.boardNow("hall").Status != s4t.BoardRegistered {
		t.Error("the board of a token that was revoked is gone")
	}
}

func TestAFleetTokenIsBoundedByTimeAndQuota(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps"})
	token := l.fleetToken(10)
	l.allow(s4t.QuotaBoards, 1)
	if _, err := l.joins(token, 1, "one", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := l.joins(token, 2, "two", ""); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "boards") {
		t.Errorf("above the quota: %v", err)
	}
	l.skew.Add(int64(s4t.DefaultFleetTokenFor + time.Minute))
	l.allow(s4t.QuotaBoards, 10)
	if _, err := l.joins(token, 2, "two", ""); s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), "expired") {
		t.Errorf("too late: %v", err)
	}
	if again, err := l.joins(token, 1, "one", ""); err != nil || again.Name != "one" {
		t.Errorf("a join that was answered in time: %v", err)
	}
	if used := items[s4t.FleetToken](l, wire.MethodFleetTokenList, wire.FleetTokenList{Caller: l.reader, Fleet: "lamps"})[0].Used; used != 1 {
		t.Errorf("%d used", used)
	}
	for range s4t.MaxFleetTokens - 1 {
		l.fleetToken(1)
	}
	refusedAs[s4t.FleetToken](l, wire.MethodFleetTokenCreate, wire.FleetTokenCreate{Caller: l.member, Fleet: "lamps"}, s4t.TooMany, "revoke")
}

// TestOneJoinTooMany: of more boards than may that join at the same moment, twice each, exactly as many as may are let in.
func TestOneJoinTooMany(t *testing.T) {
	l := newLab(t)
	l.startSecond()
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps"})
	const may, come = 8, 11
	token := l.fleetToken(may)
	var mu sync.Mutex
	in := map[int]s4t.BoardID{}
	var all sync.WaitGroup
	for i := range 2 * come {
		all.Go(func() {
			b, err := l.joins(token, 1+i%come, "", "raspberrypi")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && in[i%come] != "" && in[i%come] != b.Board:
				t.Errorf("one key has two boards")
			case err == nil:
				in[i%come] = b.Board
			case s4t.KindOf(err) != s4t.Conflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	f := call[s4t.Fleet](l, wire.MethodFleetGet, wire.RefRequest{Caller: l.reader, Ref: "lamps"})
	if len(in) != may || len(f.Boards) != may {
		t.Errorf("%d keys are in, %d boards: %s", len(in), len(f.Boards), fmt.Sprint(f.Boards))
	}
}
