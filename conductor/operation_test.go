package conductor

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// changes is where the write-ahead log is: another place, if something was
// written.
func (l *lab) changes() int64 {
	l.t.Helper()
	if l.postgres {
		l.t.Skip("it looks into the write-ahead log of SQLite")
	}
	db, err := sql.Open("sqlite", "file:"+l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	var busy, frames, done int64
	if err := db.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &done); err != nil {
		l.t.Fatal(err)
	}
	return frames
}

func TestAConductorThatRestartsGoesOn(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.mu.Lock()
	f.deaf = true
	l.mu.Unlock()
	op := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}})
	if op.Status != s4t.OperationRunning || len(op.Steps) < 4 {
		t.Fatalf("%+v", op)
	}
	l.stop()
	l.mu.Lock()
	f.deaf = false
	l.mu.Unlock()
	l.start() // it wakes who lags
	op = l.done(op)
	numbers := make([]int, len(op.Steps))
	for i, s := range op.Steps {
		numbers[i] = s.Number
	}
	if !slices.Equal(numbers, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("steps %v", numbers)
	}
}

func TestAnOperationThatTakesTooLongSaysWho(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	f, mute := l.online("one"), l.online("two")
	l.mu.Lock()
	mute.deaf = true
	l.mu.Unlock()
	op := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}})
	l.await("port.up", "one")
	if err := l.q.Cast(t.Context(), wire.TopicAgents, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"}); err != nil {
		t.Fatal(err)
	}
	l.skew.Add(int64(operationTimeout + time.Second))
	if err := l.c.deadlines(t.Context()); err != nil {
		t.Fatal(err)
	}
	op = l.ended(op)
	if op.Status != s4t.OperationFailed || op.ErrorKind != s4t.Timeout || !strings.Contains(op.Error, "board two") || strings.Contains(op.Error, "board one") {
		t.Errorf("%+v", op)
	}
	l.await("operation.failed", "")
	// The desired state stays: it comes up when the board does its part.
	l.mu.Lock()
	mute.deaf = false
	l.mu.Unlock()
	l.boardWake(t.Context(), wire.BoardWake{Board: mute.id, Generation: 99})
	l.await("bridge.up", "lab")
	_ = f
}

func TestABoardThatCannotCarryNetworksSaysSo(t *testing.T) {
	l := newLab(t)
	f := l.board("one")
	f.problem, f.problemID = "no CAP_NET_ADMIN", wire.NoNetAdmin
	l.connect(f, "i1")
	op := l.ended(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	if op.Status != s4t.OperationFailed || op.ErrorKind != s4t.Unavailable || !strings.Contains(op.Error, "board one cannot carry a network: no CAP_NET_ADMIN") {
		t.Errorf("%+v", op)
	}
	for _, says := range []string{"`s4t bridge delete lab` removes all", "`s4t bridge remove lab --board one`"} { // what is left is said
		if !strings.Contains(op.Error, says) {
			t.Errorf("%q does not say %q", op.Error, says)
		}
	}
	if p := l.bridgeNow("lab").Ports[0]; p.Problem != "no CAP_NET_ADMIN" {
		t.Errorf("%+v", p)
	}
	d := call[wire.DoctorReport](l, wire.MethodBoardDoctor, wire.RefRequest{Caller: l.reader, Ref: "one"})
	var checks []string
	for _, finding := range d.Findings {
		checks = append(checks, finding.Check)
	}
	for _, want := range []string{"session", "agent", "networks", "port", "clock"} {
		if !slices.Contains(checks, want) {
			t.Errorf("the doctor does not speak of %s: %v", want, checks)
		}
	}
	if d.Findings[0].Level != "error" || d.Findings[len(d.Findings)-1].Level != "ok" {
		t.Errorf("worst first: %+v", d.Findings)
	}
}

// TestWhatABoardRefusesIsNotWaitedFor: it will not change its mind by itself.
func TestWhatABoardRefusesIsNotWaitedFor(t *testing.T) {
	for id, kind := range map[string]s4t.Kind{wire.AddressOverlap: s4t.Conflict, wire.BridgeNotAllowed: s4t.Forbidden} {
		l := newLab(t)
		f := l.board("one")
		f.problem, f.problemID = "the owner says no", id
		l.connect(f, "i1")
		op := l.ended(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
		if op.Status != s4t.OperationFailed || op.ErrorKind != kind || !strings.Contains(op.Error, "board one refuses: the owner says no") {
			t.Errorf("%s: %+v", id, op)
		}
	}
}

func TestABoardThatGoesDuringAnOperationIsNotWaitedFor(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.online("two")
	l.mu.Lock()
	f.deaf = true
	l.mu.Unlock()
	op := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}})
	l.disconnect(f)
	l.done(op)
}

func TestWaitingForAnOperation(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.mu.Lock()
	f.deaf = true
	l.mu.Unlock()
	op := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}})
	now := call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.reader, ID: op.ID})
	if now.Status != s4t.OperationRunning {
		t.Errorf("%+v", now)
	}
	try[wire.Empty](l, wire.MethodBoardWoken, wire.BoardWake{Board: f.id, Generation: 99}) // step 5
	if got := l.watch(op.ID, func(op s4t.Operation) bool { return len(op.Steps) > len(now.Steps) }); len(got.Steps) != 5 || got.Status != s4t.OperationRunning {
		t.Errorf("%+v", got.Steps)
	}
	call[wire.Empty](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: "lab"}) // nothing is left to wait for
	if got := l.done(op); got.EndedAt == nil {
		t.Errorf("%+v", got)
	}
	all := items[s4t.Operation](l, wire.MethodOperationList, wire.ListRequest{Caller: l.reader})
	if len(all) != 2 || all[0].ID != op.ID {
		t.Errorf("%+v", all)
	}
}

func TestEventsAreToldInOrderAndKept(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.await("operation.succeeded", "lab")
	kept := items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.reader})
	l.mu.Lock()
	told := slices.Clone(l.events)
	l.mu.Unlock()
	for i := range kept {
		if i > 0 && kept[i].ID <= kept[i-1].ID || i < len(told) && told[i].ID != kept[i].ID {
			t.Errorf("event %d: kept %+v, told %+v", i, kept[i], told[i])
		}
	}
	var kinds []string
	for _, e := range kept {
		kinds = append(kinds, e.Kind)
	}
	for _, want := range []string{"board.created", "board.joined", "board.online", "bridge.created", "operation.started", "port.up", "bridge.up", "operation.succeeded"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("%s is missing: %v", want, kinds)
		}
	}
	if after := items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.reader, After: kept[1].ID}); len(after) != len(kept)-2 {
		t.Errorf("%d events after the second of %d", len(after), len(kept))
	}
	if foreign := items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.foreign}); len(foreign) != 0 {
		t.Errorf("events of another project: %+v", foreign)
	}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.TrimEvents(projectID, 2) }); err != nil {
		t.Fatal(err)
	}
	if left := items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.reader}); len(left) != 2 {
		t.Errorf("%d events are left of 2", len(left))
	}
}

func TestWhatWasDoneIsAudited(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	call[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: 22})
	try[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.reader, Ref: "lab"})
	var recs wire.List[s4t.AuditRecord]
	err := l.db.View(context.Background(), func(tx *store.Tx) (err error) {
		recs, err = tx.AuditRecords(store.AuditFilter{Project: projectID}, wire.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range recs.Items {
		got = append(got, r.User+" "+r.Action+" "+r.Name+" "+r.Outcome)
	}
	want := []string{"mia board.create one ok", "board:one board.join one ok", "mia bridge.create lab ok", "mia stream.open one ok", "rob bridge.delete lab forbidden"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
