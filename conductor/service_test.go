package conductor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestAServicesWholeLife(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	op := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh", PublicPort: 50005}))
	for i, s := range op.Steps {
		if s.Number != i+1 {
			t.Errorf("steps: %+v", op.Steps)
			break
		}
	}
	s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object})
	if s.Status != s4t.ServiceUp || s.Host != "tunnel.example" || s.PublicPort != 50005 || s.TCPPort != 22 || s.Name != "ssh" || s.Target != testTarget || s.Board != "one" {
		t.Errorf("%+v", s)
	}
	if d := f.services(); len(d) != 1 || d[0].TCPPort != 22 || f.streams() == nil || f.streams().Warm != warmBusy || f.streams().URL != tunnelURL {
		t.Errorf("%+v", d)
	}
	e := tunnelWants[tunnelExposure](l, wire.KindService)[0]
	ticket, err := wire.VerifyTicket(l.c.ticketKey(), e.Ticket, time.Now().AddDate(10, 0, 0))
	if err != nil || ticket.Purpose != wire.PurposeService || ticket.Incarnation != "" || ticket.Service != s.ID || ticket.Target != "127.0.0.1:22" || ticket.Board != f.id || e.PublicPort != 50005 {
		t.Errorf("%+v, %v", ticket, err)
	}
	l.await("service.up", "one")

	for _, tt := range []struct {
		name string
		req  wire.ServiceExpose
		kind s4t.Kind
		says string
	}{
		{"the same again", wire.ServiceExpose{Service: "22"}, s4t.Conflict, "tunnel.example port 50005"},
		{"a public port that is taken", wire.ServiceExpose{Service: "http", PublicPort: 50005}, s4t.Conflict, "taken"},
		{"a public port of somebody else", wire.ServiceExpose{Service: "http", PublicPort: 80}, s4t.Conflict, "50000 to 50009"},
		{"no service", wire.ServiceExpose{Service: "gopher"}, s4t.Invalid, "gopher"},
		{"port 0", wire.ServiceExpose{Service: "0"}, s4t.Invalid, "65535"},
		{"a target that is no host", wire.ServiceExpose{Service: "http", Target: "a b"}, s4t.Invalid, "host"},
		{"a board that does not exist", wire.ServiceExpose{Service: "http", Board: "two"}, s4t.NotFound, "two"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.Caller = l.member
			if tt.req.Board == "" {
				tt.req.Board = "one"
			}
			_, err := try[s4t.Operation](l, wire.MethodServiceExpose, tt.req)
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v (%q)", err, s4t.KindOf(err))
			}
		})
	}

	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh", Target: "192.168.1.5"}))
	if _, err := try[s4t.Operation](l, wire.MethodServiceHide, wire.ServiceHide{Caller: l.member, Board: "one", Service: "ssh"}); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), string(s.ID)) {
		t.Errorf("an ambiguous name: %v", err)
	}
	l.done(call[s4t.Operation](l, wire.MethodServiceHide, wire.ServiceHide{Caller: l.member, Board: "one", Service: string(s.ID)}))
	l.done(call[s4t.Operation](l, wire.MethodServiceHide, wire.ServiceHide{Caller: l.member, Board: "one", Service: "ssh"}))
	if len(f.services()) != 0 || f.streams() != nil || len(tunnelWants[tunnelExposure](l, wire.KindService)) != 0 {
		t.Errorf("something is left: %+v", f.desired)
	}
	if _, err := try[s4t.Operation](l, wire.MethodServiceHide, wire.ServiceHide{Caller: l.member, Board: "one", Service: "ssh"}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("hide again: %v", err)
	}
}

func TestAnOfflineBoardsServiceWaitsForIt(t *testing.T) {
	l := newLab(t)
	f := l.board("one")
	op := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "8080"}))
	if s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object}); s.Status != s4t.ServicePending || s.Name != "8080" {
		t.Errorf("%+v", s)
	}
	l.connect(f, "i1")
	l.await("service.up", "one")
}

// exposeBusy exposes a service on a tunnel agent that cannot open the first
// public ports it is told to.
func exposeBusy(l *lab, busy int, req wire.ServiceExpose) s4t.Operation {
	l.t.Helper()
	l.mu.Lock()
	l.tunnel.busy = busy
	clear(l.tunnel.taken)
	l.mu.Unlock()
	req.Caller = l.member
	return l.ended(call[s4t.Operation](l, wire.MethodServiceExpose, req))
}

func TestAPublicPortThatSomebodyElseHas(t *testing.T) {
	l := newLab(t)
	l.online("one")
	op := exposeBusy(l, 1, wire.ServiceExpose{Board: "one", Service: "ssh", PublicPort: 50000})
	if op.Status != s4t.OperationFailed || !strings.Contains(op.Error, "another program") || op.ErrorKind != s4t.Conflict {
		t.Errorf("%+v", op)
	}
	if _, err := try[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("something half-made is left: %v", err)
	}
	if op := exposeBusy(l, 0, wire.ServiceExpose{Board: "one", Service: "ssh", PublicPort: 50000}); op.Status != s4t.OperationSucceeded {
		t.Errorf("once it is free: %+v", op)
	}
}

func TestABusyPublicPortIsNotChosenTwice(t *testing.T) {
	l := newLab(t)
	l.online("one")
	op := exposeBusy(l, 3, wire.ServiceExpose{Board: "one", Service: "ssh"})
	s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object})
	if op.Status != s4t.OperationSucceeded || s.Status != s4t.ServiceUp {
		t.Errorf("%+v, %+v", op, s)
	}
	if op := exposeBusy(l, 1000, wire.ServiceExpose{Board: "one", Service: "http"}); op.Status != s4t.OperationFailed {
		t.Errorf("%+v", op)
	}
	if l := items[s4t.Service](l, wire.MethodServiceList, wire.ServiceList{Caller: l.reader}); len(l) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestStreams(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	open := func() (wire.StreamGrant, error) {
		return try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: 22, Target: "localhost", HostKeys: true})
	}
	grant, err := open()
	if err != nil || grant.URL != tunnelURL || grant.BoardID != string(f.id) || len(grant.HostKeys) != 1 {
		t.Fatalf("%+v, %v", grant, err)
	}
	ticket, err := wire.VerifyTicket(l.c.ticketKey(), grant.Ticket, time.Now())
	if err != nil || ticket.Purpose != wire.PurposeStream || ticket.Target != "127.0.0.1:22" || ticket.User != "mia" || ticket.Board != f.id || ticket.Agent != tunnelID || ticket.Incarnation != "t1" {
		t.Errorf("%+v, %v", ticket, err)
	}
	generation := l.boardNow("one").Generation
	if generation != 2 {
		t.Errorf("generation %d: the board was to be told, once", generation)
	}
	for _, later := range []time.Duration{0, 4 * time.Minute, 4 * time.Minute} { // kept warm while it is used
		l.skew.Add(int64(later))
		if _, err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if now := l.boardNow("one").Generation; now != generation {
		t.Errorf("each stream costs the board a generation: %d, was %d", now, generation)
	}
	call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
	call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: "t1"})
	d := call[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epoch})
	if s := streamsOf(d); s == nil || s.Warm != warmRecent {
		t.Errorf("%+v", s)
	}
	l.skew.Add(int64(streamsFor + time.Minute))
	if err := l.c.revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = call[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epoch})
	if streamsOf(d) != nil || d.Generation != generation+1 {
		t.Errorf("after a while without streams: %+v, generation %d", streamsOf(d), d.Generation)
	}

	l.disconnect(f)
	if _, err := open(); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("of an offline board: %v", err)
	}
	if _, err := try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.reader, Board: "one", TCPPort: 22}); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("by a reader: %v", err)
	}
}

// TestAServiceTellsWhetherSomethingListens does row F11 again: the public port
// is there, and nothing listens on the board; later something does.
func TestAServiceTellsWhetherSomethingListens(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	op := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "8080"}))
	show := func() s4t.Service {
		t.Helper()
		return call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object})
	}
	says := func(problemID, problem string) {
		t.Helper()
		l.mu.Lock()
		f.fails = map[string]wire.ResourceState{op.Object: {Up: true, ProblemID: problemID, Problem: problem}}
		l.mu.Unlock()
		l.report(f)
	}
	if s := show(); s.Status != s4t.ServiceUp || s.TargetStatus != s4t.TargetListening {
		t.Errorf("%+v", s)
	}
	says(wire.TargetRefused, "nothing listens at 127.0.0.1:8080 on the board")
	if e := l.await("service.target", op.Object); e.Detail != s4t.TargetRefused {
		t.Errorf("%+v", e)
	}
	if s := show(); s.Status != s4t.ServiceUp || s.TargetStatus != s4t.TargetRefused || s.Problem != "" {
		t.Errorf("%+v", s)
	}
	l.forget()
	says("", "")
	if e := l.await("service.target", op.Object); e.Detail != s4t.TargetListening {
		t.Errorf("%+v", e)
	}
	if s := show(); s.TargetStatus != s4t.TargetListening {
		t.Errorf("%+v", s)
	}
	l.disconnect(f)
	if s := show(); s.TargetStatus != "" {
		t.Errorf("of a board that is away: %+v", s)
	}
	l.online("two")
	op = l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "two", Service: "502", Target: "192.168.1.9"}))
	if s := show(); s.TargetStatus != "" { // the board has not tried
		t.Errorf("%+v", s)
	}
}
