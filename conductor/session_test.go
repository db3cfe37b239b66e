package conductor

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestJoin(t *testing.T) {
	l := newLab(t)
	key, other := make([]byte, ed25519.PublicKeySize), make([]byte, ed25519.PublicKeySize)
	other[0] = 1
	b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "one"})
	j, err := s4t.ParseJoin(b.Join)
	if err != nil || j.Name != "one" || j.URLs[0] != cloudURL || j.Fingerprint == "" || j.Code != b.Code || len(b.Code) != 32 {
		t.Fatalf("join string: %+v, %v", j, err)
	}
	if b := l.boardNow("one"); b.Code != "" || b.Join != "" {
		t.Error("the code is shown again")
	}
	for _, tt := range []struct {
		name string
		req  wire.BoardJoin
		kind s4t.Kind
		says string
	}{
		{"a code that nobody made", wire.BoardJoin{Code: "nope", PublicKey: key}, s4t.Unauthenticated, "not known"},
		{"another name", wire.BoardJoin{Code: j.Code, PublicKey: key, Name: "two"}, s4t.Invalid, `"one"`},
		{"a key that is none", wire.BoardJoin{Code: j.Code, PublicKey: key[:5]}, s4t.Invalid, "32"},
		{"the code, for the first time", wire.BoardJoin{Code: j.Code, PublicKey: key, Name: "one"}, "", ""},
		{"the code again with the same key: the answer was lost", wire.BoardJoin{Code: j.Code, PublicKey: key}, "", ""},
		{"the code again with another key", wire.BoardJoin{Code: j.Code, PublicKey: other}, s4t.Conflict, "the code was used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			joined, err := try[wire.BoardJoined](l, wire.MethodBoardJoin, tt.req)
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v (%q)", err, s4t.KindOf(err))
			}
			if tt.kind == "" && (joined.Board != b.ID || joined.Name != "one" || !slices.Equal(joined.TicketKey, []byte(l.c.ticketKey()))) {
				t.Errorf("%+v", joined)
			}
		})
	}
	l.await("board.joined", "one")
	who := call[wire.BoardIdentity](l, wire.MethodBoardAuthenticate, wire.BoardAuthenticate{Board: b.ID})
	if !slices.Equal(who.PublicKey, key) || who.Name != "one" {
		t.Errorf("%+v", who)
	}
}

func TestABoardThatLeavesNeedsANewCode(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}}))
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	if _, err := try[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "one", NewCode: true}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a new code for an enrolled board: %v", err)
	}
	call[wire.Empty](l, wire.MethodBoardLeave, wire.BoardAsk{Board: f.id, Epoch: f.epoch})
	if b := l.boardNow("one"); b.Status != s4t.BoardRegistered {
		t.Errorf("it is %s", b.Status)
	}
	if b := l.bridgeNow("lab"); len(b.Ports) != 1 {
		t.Errorf("the bridge has %d ports", len(b.Ports))
	}
	if s := items[s4t.Service](l, wire.MethodServiceList, wire.ServiceList{Caller: l.reader, Board: "one"}); len(s) != 0 {
		t.Errorf("services are left: %+v", s)
	}
	if _, err := try[wire.BoardIdentity](l, wire.MethodBoardAuthenticate, wire.BoardAuthenticate{Board: f.id}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("it may still connect: %v", err)
	}
	call[wire.Empty](l, wire.MethodBoardDisconnected, wire.BoardDisconnected{Board: f.id, Epoch: f.epoch}) // late
	b := call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "one", NewCode: true})
	if b.Status != s4t.BoardRegistered {
		t.Errorf("a late end of session made it %s", b.Status)
	}
	j, err := s4t.ParseJoin(b.Join)
	if err != nil {
		t.Fatal(err)
	}
	call[wire.BoardJoined](l, wire.MethodBoardJoin, wire.BoardJoin{Code: j.Code, PublicKey: make([]byte, ed25519.PublicKeySize)})
}

func TestAClone(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	copied := &fakeBoard{id: f.id, name: "one"}
	err := l.connectTry(copied, "i2")
	if s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "cloned") {
		t.Fatalf("a second board with the key: %v", err)
	}
	l.await("board.cloned", "one")
	deadline := time.Now().Add(time.Minute)
	for told := false; !told; { // the first is told too
		l.mu.Lock()
		told = len(f.desired.Notices) == 1
		l.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("the first board is not told")
		}
		time.Sleep(time.Millisecond)
	}
	if b := l.boardNow("one"); b.Status != s4t.BoardOnline || b.Epoch != f.epoch {
		t.Errorf("the first lost its session: %+v", b)
	}
	generation := l.boardNow("one").Generation
	if err := l.connectTry(copied, "i2"); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("it tries again: %v", err)
	}
	if now := l.boardNow("one").Generation; now != generation {
		t.Error("each attempt of the clone costs the first a generation")
	}

	l.mu.Lock()
	f.alive = false // a board that was switched off and on is no clone
	l.mu.Unlock()
	l.connect(f, "i3")
	if b := l.boardNow("one"); b.Status != s4t.BoardOnline || b.Epoch != f.epoch || f.epoch != 2 {
		t.Errorf("%+v", b)
	}
	// The same lightning-rod that connects anew needs no question.
	l.mu.Lock()
	pings := l.pings
	l.mu.Unlock()
	l.connect(f, "i3")
	if l.pings != pings || f.epoch != 3 {
		t.Errorf("%d pings, epoch %d", l.pings-pings, f.epoch)
	}
	l.skew.Add(int64(cloneNotice + time.Minute))
	if err := l.c.revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := l.c.boardDesired(t.Context(), wire.BoardAsk{Board: f.id, Epoch: f.epoch}); err != nil || len(d.Notices) != 0 {
		t.Errorf("the notice stays: %+v, %v", d.Notices, err)
	}
}

func TestTickets(t *testing.T) {
	l := newLab(t)
	one, two := l.online("one"), l.online("two")
	away := l.board("away")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}}))
	port, foreign := one.ports()[0].ID, two.ports()[0].ID
	err := l.c.change(t.Context(), func(ch *change) error {
		ch.want(boardOf(one.id), wire.KindPlugin, "meter", wire.DesiredPlugin{Digest: "d1", Project: projectID, URL: tunnelURL})
		ch.want(boardOf(one.id), wire.KindPlugin, "far", wire.DesiredPlugin{Digest: "d2", Project: projectID, URL: "https://gone:1"})
		ch.want(boardOf(two.id), wire.KindPlugin, "gate", wire.DesiredPlugin{Digest: "d3", Project: projectID, URL: tunnelURL})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		req  wire.BoardTicket
		kind s4t.Kind
	}{
		{"for its port", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposePort, Port: port, Count: 1}, ""},
		{"for streams", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeStreams, Count: 16}, ""},
		{"for a bundle", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeBundle, Plugin: "meter", Count: 1}, ""},
		{"for a bundle of another", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeBundle, Plugin: "gate", Count: 1}, s4t.Forbidden},
		{"for a bundle at an agent that is gone", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeBundle, Plugin: "far", Count: 1}, s4t.Unavailable},
		{"for the port of another", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposePort, Port: foreign, Count: 1}, s4t.Forbidden},
		{"for a port that does not exist", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposePort, Port: "x", Count: 1}, s4t.Forbidden},
		{"in a session that is over", wire.BoardTicket{Board: one.id, Epoch: one.epoch - 1, Purpose: wire.PurposePort, Port: port, Count: 1}, s4t.Conflict},
		{"without a session", wire.BoardTicket{Board: away.id, Epoch: 0, Purpose: wire.PurposeStreams, Count: 1}, s4t.Conflict},
		{"for a user's purpose", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeStream, Count: 1}, s4t.Invalid},
		{"too many", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeStreams, Count: 17}, s4t.Invalid},
		{"none", wire.BoardTicket{Board: one.id, Epoch: one.epoch, Purpose: wire.PurposeStreams}, s4t.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := time.Now()
			got, err := try[wire.BoardTickets](l, wire.MethodBoardTicket, tt.req)
			if s4t.KindOf(err) != tt.kind {
				t.Fatalf("%v (%q), want %q", err, s4t.KindOf(err), tt.kind)
			}
			if tt.kind != "" {
				return
			}
			ids := map[string]bool{}
			for _, text := range got.Tickets {
				ticket, err := wire.VerifyTicket(l.c.ticketKey(), text, asked.Add(ticketLife-2*time.Second))
				if err != nil || ticket.Board != one.id || ticket.Agent != tunnelID || ticket.Incarnation != "t1" || ticket.Purpose != tt.req.Purpose || ticket.Port != tt.req.Port || tt.req.Plugin != "" && (ticket.Bundle != "d1" || ticket.Project != projectID) {
					t.Errorf("%+v, %v", ticket, err)
				}
				if _, err := wire.VerifyTicket(l.c.ticketKey(), text, time.Now().Add(ticketLife+2*time.Second)); err == nil {
					t.Error("it does not expire")
				}
				ids[ticket.ID] = true
			}
			if len(ids) != tt.req.Count {
				t.Errorf("%d tickets with ids of their own, want %d", len(ids), tt.req.Count)
			}
		})
	}
}

func TestAReportOfAnOldSessionIsNotTaken(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.mu.Lock()
	old := l.reportOf(f)
	l.mu.Unlock()
	l.connect(f, "i1")
	old.Resources = nil
	if _, err := try[wire.Empty](l, wire.MethodBoardReport, old); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("%v", err)
	}
	if b := l.bridgeNow("lab"); b.Status != s4t.BridgeUp {
		t.Errorf("the bridge is %s", b.Status)
	}
}

// TestASessionBeginsWithAReport: of a board that has nothing. What has something
// reports as ever.
func TestASessionBeginsWithAReport(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	connect := func(r wire.BoardReport) wire.BoardWelcome {
		return call[wire.BoardWelcome](l, wire.MethodBoardConnected, wire.BoardConnected{Board: f.id, Agent: wampID, Incarnation: "w1", Instance: "i1", Report: &r})
	}
	w := connect(wire.BoardReport{Seq: 1, Generation: 1 << 40, Problems: []string{"no disk"}})
	b := l.boardNow("one")
	if !w.Heard || b.AppliedGeneration != b.Generation || len(b.Problems) != 1 {
		t.Errorf("heard %t: it has applied %d of %d, problems %q", w.Heard, b.AppliedGeneration, b.Generation, b.Problems)
	}
	call[wire.Empty](l, wire.MethodBoardReport, wire.BoardReport{Board: f.id, Epoch: w.Epoch, Seq: 2, Generation: b.Generation})
	if b := l.boardNow("one"); len(b.Problems) != 0 {
		t.Errorf("problems %q after a later report", b.Problems)
	}
	w = connect(wire.BoardReport{Seq: 1, Resources: []wire.ResourceState{{Kind: "port", ID: "x"}}, Problems: []string{"no disk"}})
	if b := l.boardNow("one"); w.Heard || len(b.Problems) != 0 {
		t.Errorf("one with resources: heard %t, problems %q", w.Heard, b.Problems)
	}
}

func TestWhatSaysTheSameIsNotWritten(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	l.forget()
	l.c.upkeep(t.Context()) // the agents are new to it
	before := l.changes()
	for range 3 {
		l.mu.Lock()
		r := l.reportOf(f)
		l.mu.Unlock()
		call[wire.Empty](l, wire.MethodBoardReport, r)
		l.tunnelReport()
		l.c.upkeep(t.Context())
	}
	if after := l.changes(); after != before {
		t.Errorf("something was written: the log was at %d and is at %d", before, after)
	}
	l.board("two")
	if l.changes() == before {
		t.Error("this test does not see writes")
	}
}

// TestPresence drives sessions, ends of sessions and restarts of the WAMP
// agent in any order against a model: a board is online exactly while the
// session with the highest epoch has not ended.
func TestPresence(t *testing.T) {
	l := newLab(t)
	// Each check is some thirty transactions, which sync the disk.
	if flag.Lookup("rapid.checks").Value.String() == "100" {
		flag.Set("rapid.checks", "8")
	}
	boards := 0
	rapid.Check(t, func(t *rapid.T) {
		boards++
		f := l.board(fmt.Sprintf("b%d", boards))
		incarnation := fmt.Sprintf("p%d-0", boards)
		l.wampHello(incarnation)
		type session struct {
			epoch int64
			over  bool
		}
		var sessions []session // those begun, by epoch
		check := func() {
			want := s4t.BoardRegistered
			if n := len(sessions); n > 0 {
				want = s4t.BoardOnline
				if sessions[n-1].over {
					want = s4t.BoardOffline
				}
			}
			b := l.boardNow(f.name)
			if b.Status != want {
				t.Fatalf("it is %s, want %s: %+v", b.Status, want, sessions)
			}
			if n := len(sessions); n > 0 && b.Epoch != sessions[n-1].epoch {
				t.Fatalf("epoch %d, want %d", b.Epoch, sessions[n-1].epoch)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"connect": func(t *rapid.T) {
				w, err := try[wire.BoardWelcome](l, wire.MethodBoardConnected, wire.BoardConnected{
					Board: f.id, Agent: wampID, Incarnation: incarnation, Instance: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "instance"),
				})
				if err != nil {
					t.Fatal(err)
				}
				if n := len(sessions); n > 0 && w.Epoch <= sessions[n-1].epoch {
					t.Fatalf("epoch %d does not grow", w.Epoch)
				}
				sessions = append(sessions, session{epoch: w.Epoch})
			},
			"end any session": func(t *rapid.T) {
				if len(sessions) == 0 {
					t.Skip("there is none")
				}
				i := rapid.IntRange(0, len(sessions)-1).Draw(t, "session")
				sessions[i].over = true
				call[wire.Empty](l, wire.MethodBoardDisconnected, wire.BoardDisconnected{Board: f.id, Epoch: sessions[i].epoch})
			},
			"restart the agent": func(*rapid.T) {
				incarnation += "+"
				l.wampHello(incarnation)
				for i := range sessions {
					sessions[i].over = true
				}
			},
			"connect through an agent of before": func(*rapid.T) {
				_, err := try[wire.BoardWelcome](l, wire.MethodBoardConnected, wire.BoardConnected{Board: f.id, Agent: wampID, Incarnation: "long ago", Instance: "a"})
				if s4t.KindOf(err) != s4t.Unavailable {
					t.Fatalf("%v", err)
				}
			},
			"beat": func(*rapid.T) {
				call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: incarnation})
			},
		})
	})
}
