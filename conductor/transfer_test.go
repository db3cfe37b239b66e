package conductor

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// giver and taker are managers of the board's project and of a third one.
func giverAndTaker(t *testing.T, l *lab) (giver, taker wire.Caller) {
	t.Helper()
	third := s4t.Project{ID: s4t.ProjectID(s4t.NewID()), Name: "third", Weight: 1, CreatedAt: time.Now()}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.InsertProject(third) }); err != nil {
		t.Fatal(err)
	}
	return vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager}),
		vouched(l.key, wire.Caller{User: "tom", Project: third.ID, Role: s4t.RoleManager})
}

func TestABoardGetsAnotherOwner(t *testing.T) {
	l := newLab(t)
	f, held := made(t, l)
	giver, taker := giverAndTaker(t, l)
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "own", Boards: []string{"one"}}))
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "fleet", Boards: []string{"one"}})
	call[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: 22})
	labels := map[string]string{"room": "safe"}
	call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "one", Labels: labels})

	for _, tt := range []struct {
		name   string
		caller wire.Caller
		to     string
		want   s4t.Kind
	}{
		{"a member gives it", l.member, "third", s4t.Forbidden},
		{"who leases it gives it", l.foreign, "third", s4t.Forbidden},
		{"to nobody", giver, "", s4t.Invalid},
		{"to itself", giver, string(projectID), s4t.Invalid},
		{"to a project that is not there", giver, "fourth", s4t.NotFound},
		{"a stranger gives it", taker, "third", s4t.NotFound},
	} {
		if _, err := try[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: tt.caller, Ref: "one", To: tt.to}); s4t.KindOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	first := call[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: giver, Ref: "one", To: "third"})
	code := call[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: giver, Ref: "one", To: "third"})
	if code.Leases != 1 || code.To != taker.Project || len(code.Code) < 32 || code.Code == first.Code {
		t.Errorf("%+v", code)
	}
	claim := func(c wire.Caller, code string) error {
		_, err := try[s4t.Board](l, wire.MethodBoardClaim, wire.BoardClaim{Caller: c, Code: code})
		return err
	}
	member := vouched(l.key, wire.Caller{User: "tim", Project: taker.Project, Role: s4t.RoleMember})
	for _, tt := range []struct {
		name string
		err  error
		want s4t.Kind
	}{
		{"a member claims it", claim(member, code.Code), s4t.Forbidden},
		{"another project claims it", claim(giver, code.Code), s4t.NotFound},
		{"with a code that was made anew", claim(taker, first.Code), s4t.NotFound},
		{"with none", claim(taker, ""), s4t.NotFound},
	} {
		if s4t.KindOf(tt.err) != tt.want {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if b := l.boardNow("one"); b.Project != projectID {
		t.Fatalf("%+v", b)
	}

	var claimed atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if claim(taker, code.Code) == nil {
				claimed.Add(1)
			}
		})
	}
	all.Wait()
	if n := claimed.Load(); n != 1 {
		t.Fatalf("it was claimed %d times", n)
	}
	b := call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: taker, Ref: "one"})
	if b.ID != f.id || b.Project != taker.Project || len(b.Labels) != 0 {
		t.Errorf("%+v", b)
	}
	l.await("board.claimed", "one")
	for _, c := range []wire.Caller{giver, l.foreign} {
		if _, err := try[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: c, Ref: "one"}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s still sees it: %v", c.User, err)
		}
		if _, err := try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: c, Board: string(f.id), TCPPort: 22}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s still opens streams: %v", c.User, err)
		}
	}
	if got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: string(held.ID)}); got.Status != s4t.LeaseRevoked || got.Reason == "" {
		t.Errorf("its lease: %+v", got)
	}
	l.tunnelApply()
	for _, r := range l.tunnelStates() {
		if r.Kind != wire.KindNetwork {
			t.Errorf("the tunnel agent still has %s %s", r.Kind, r.ID)
		}
	}
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		services, err := tx.ServicesOfBoard(f.id)
		ports, err2 := tx.PortsOfBoard(f.id)
		if len(services)+len(ports) != 0 || err != nil || err2 != nil {
			t.Errorf("%+v %+v, %v %v", services, ports, err, err2)
		}
		for p, want := range map[s4t.ProjectID]int{projectID: 2, taker.Project: 0} { // transfers that were made
			all, err := tx.AuditRecords(store.AuditFilter{Project: p}, wire.Page{})
			if err != nil {
				return err
			}
			given, taken := 0, 0
			for _, r := range all.Items {
				if r.Action == "board.transfer" && r.Outcome == "ok" {
					given++
				}
				if r.Action == "board.claim" && r.Outcome == "ok" {
					taken++
				}
			}
			if given != want || taken != 1 {
				t.Errorf("project %s: %d transfers and %d claims in its audit", p, given, taken)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if fleet := call[s4t.Fleet](l, wire.MethodFleetGet, wire.RefRequest{Caller: l.member, Ref: "fleet"}); len(fleet.Boards) != 0 {
		t.Errorf("the fleet still names %+v", fleet.Boards)
	}
	if f.desired.Tenure != 1 || f.desired.Project != taker.Project || len(f.desired.Resources) != 0 {
		t.Errorf("the board is told %+v", f.desired)
	}
	l.mu.Lock()
	for _, p := range []s4t.ProjectID{projectID, taker.Project} {
		kind := map[s4t.ProjectID]string{projectID: "board.transferred", taker.Project: "board.claimed"}[p]
		if !slices.ContainsFunc(l.events, func(e s4t.Event) bool { return e.Kind == kind && e.Project == p }) {
			t.Errorf("project %s was not told %s", p, kind)
		}
	}
	l.mu.Unlock()
	// The new owner uses it, and could give it back.
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: taker, Board: "one", Service: "ssh"}))
	back := call[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: taker, Ref: "one", To: "default"})
	call[s4t.Board](l, wire.MethodBoardClaim, wire.BoardClaim{Caller: giver, Code: back.Code, Name: "returned"})
	if b := l.boardNow("returned"); b.Project != projectID {
		t.Errorf("%+v", b)
	}
	l.await("board.claimed", "returned")
}

func TestATransferEndsWithItsTimeOrWhenItIsTakenBack(t *testing.T) {
	l := newLab(t)
	l.board("one")
	giver, taker := giverAndTaker(t, l)
	give := func() string {
		return call[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: giver, Ref: "one", To: "third"}).Code
	}
	code := give()
	call[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: giver, Ref: "one", Cancel: true})
	if _, err := try[s4t.Board](l, wire.MethodBoardClaim, wire.BoardClaim{Caller: taker, Code: code}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("after it was taken back: %v", err)
	}
	if _, err := try[s4t.Transfer](l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: giver, Ref: "one", Cancel: true}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("taken back twice: %v", err)
	}
	code = give()
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: taker, Name: "one"})
	if _, err := try[s4t.Board](l, wire.MethodBoardClaim, wire.BoardClaim{Caller: taker, Code: code}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("of a name that is taken: %v", err)
	}
	past := store.Transfer{Board: l.boardNow("one").ID, To: taker.Project, CodeHash: codeHash(code), ExpiresAt: time.Now().Add(-time.Second)}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.SetTransfer(past, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	if _, err := try[s4t.Board](l, wire.MethodBoardClaim, wire.BoardClaim{Caller: taker, Code: code, Name: "two"}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("after its time: %v", err)
	}
}
