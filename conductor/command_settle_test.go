package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// settles lets the clock run ahead until a run has a status: on a machine that is
// busy with other things a board may seem to be away when it is to be asked first.
func (l *lab) settles(id s4t.OperationID, status s4t.OperationStatus) s4t.Operation {
	l.t.Helper()
	deadline := time.Now().Add(2 * patience)
	return l.watch(id, func(op s4t.Operation) bool {
		if op.Status == status {
			return true
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("operation %s stays %s", id, op.Status)
		}
		l.ahead(10 * time.Second)
		return false
	})
}

// TestAQueuedCommandRunsWhenItsBoardIsBack, or never.
func TestAQueuedCommandRunsWhenItsBoardIsBack(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	l.disconnect(f)
	queued := moveTo3
	queued.Queue = time.Hour
	op, err := l.run(queued)
	if err != nil || op.Status != s4t.OperationQueued || op.Run.ExpiresAt == nil || states(op) != "queued" {
		t.Fatalf("%+v, %v", op, err)
	}
	if n := len(a.runs()); n > 0 {
		t.Errorf("a board that is away was told of %d", n)
	}
	l.connect(f, "i1")
	op = l.becomes(op.ID, s4t.OperationSucceeded)
	if states(op) != "queued accepted started succeeded" || a.runs()[op.ID] < 1 || !a.last().Run.Before.Equal(*op.Run.ExpiresAt) {
		t.Errorf("%s, told %v, before %v", states(op), a.runs(), a.last().Run.Before)
	}
	l.await("operation.started", "gate")
	l.await("operation.succeeded", "gate")

	// With its board there it runs at once.
	if op, err = l.run(queued); err != nil || op.Status != s4t.OperationSucceeded {
		t.Errorf("with the board there: %+v, %v", op, err)
	}
}

// TestAQueuedCommandWaitsForItsPlugin: the board has a session, and no such command
// yet.
func TestAQueuedCommandWaitsForItsPlugin(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	l.disconnect(f)
	queued := moveTo3
	queued.Queue = time.Hour
	op, err := l.run(queued)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		return tx.SetBoardCode(f.id, []byte(`{"runtimes":{},"commands":[]}`), []byte(`{}`), time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	l.connect(f, "i1")
	if err := l.c.settle(t.Context(), f.id); err != nil || len(a.runs()) > 0 {
		t.Errorf("without its plugin: %v, told %v", err, a.runs())
	}
	l.saysCommands(f)
	l.becomes(op.ID, s4t.OperationSucceeded)
}

// TestAQueuedCommandExpires: no board hears of it afterwards.
func TestAQueuedCommandExpires(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	l.disconnect(f)
	queued := moveTo3
	queued.Queue = 10 * time.Second
	op, err := l.run(queued)
	if err != nil {
		t.Fatal(err)
	}
	l.ahead(14 * time.Second)
	if op = l.becomes(op.ID, s4t.OperationExpired); op.Error == "" || states(op) != "queued expired" {
		t.Errorf("%+v", op)
	}
	l.connect(f, "i1")
	if err := l.c.settle(t.Context(), f.id); err != nil || len(a.runs()) > 0 {
		t.Errorf("%v, the board was told of %v", err, a.runs())
	}
	l.await("operation.expired", "gate")
}

// TestABoardThatDoesNotAnswer: nobody is told more than is known, until it is
// settled.
func TestABoardThatDoesNotAnswer(t *testing.T) {
	needsClock(t)
	for name, c := range map[string]struct {
		says   func(req wire.BoardCodeAsk) wire.CodeAnswer
		status s4t.OperationStatus
	}{
		"it never began": {func(req wire.BoardCodeAsk) wire.CodeAnswer { return wire.CodeAnswer{Unknown: req.Ask.IDs} }, s4t.OperationExpired},
		"it ran":         {func(req wire.BoardCodeAsk) wire.CodeAnswer { return ran(req, s4t.OperationSucceeded, "3") }, s4t.OperationSucceeded},
		"it runs":        {func(req wire.BoardCodeAsk) wire.CodeAnswer { return ran(req, s4t.OperationStarted, "") }, s4t.OperationStarted},
		"it lies":        {func(req wire.BoardCodeAsk) wire.CodeAnswer { return ran(req, s4t.OperationSucceeded, `"x"`) }, s4t.OperationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			a := l.code()
			l.commanded("gate")
			a.answers(silent)
			_, err := l.run(moveTo3)
			var id s4t.OperationID
			for told := range a.runs() {
				id = told
			}
			if s4t.KindOf(err) != s4t.Offline || id == "" || !strings.Contains(err.Error(), string(id)) {
				t.Fatalf("%v, told %q", err, id)
			}
			if op := l.operation(id); op.Status != s4t.OperationAccepted {
				t.Errorf("before it is settled: %+v", op)
			}
			a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
				if req.Ask.Do != wire.CodeState {
					return wire.CodeAnswer{}, s4t.Errorf(s4t.Invalid, "answer", "", "it is asked to %s", req.Ask.Do)
				}
				return c.says(req), nil
			})
			l.settles(id, c.status)
			if n := a.runs()[id]; n != 1 {
				t.Errorf("the board was told of it %d times", n)
			}
		})
	}
}

// TestARunThatABoardForgot has failed: it may have been done in part.
func TestARunThatABoardForgot(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		if req.Ask.Do == wire.CodeState {
			return wire.CodeAnswer{Unknown: req.Ask.IDs}, nil
		}
		return ran(req, s4t.OperationStarted, ""), nil
	})
	op, err := l.run(moveTo3)
	if err != nil {
		t.Fatal(err)
	}
	l.disconnect(f)
	l.connect(f, "i2")
	if op = l.becomes(op.ID, s4t.OperationFailed); !strings.Contains(op.Error, "in part") {
		t.Errorf("%+v", op)
	}
}

// TestTheConductorEndsInBetween: what it had recorded, and no board was told of,
// never runs and is said to.
func TestTheConductorEndsInBetween(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	req := moveTo3
	req.Caller, req.Params = l.member, json.RawMessage(`{"to":3}`)
	lost := l.c.newRun(req, store.Route{ID: f.id, Name: "gate", Project: projectID}, time.Minute)
	if _, err := l.c.records.do(t.Context(), runRecord{fresh: lost}); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l.start()
	op := l.settles(lost.run.ID, s4t.OperationExpired)
	if len(a.runs()) > 0 || a.last().Do != wire.CodeState {
		t.Errorf("%+v; the board was told of %v", op, a.runs())
	}
}

// TestCancelling reaches what runs; what no board was told of is cancelled at once.
func TestCancelling(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	cancel := func(caller wire.Caller, id s4t.OperationID) (s4t.Operation, error) {
		return try[s4t.Operation](l, wire.MethodCommandCancel, wire.RefRequest{Caller: caller, Ref: string(id)})
	}
	a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		if req.Ask.Do == wire.CodeCancel {
			return ran(req, s4t.OperationCancelled, ""), nil
		}
		return ran(req, s4t.OperationStarted, ""), nil
	})
	running, err := l.run(moveTo3)
	if err != nil {
		t.Fatal(err)
	}
	for want, caller := range map[s4t.Kind]wire.Caller{s4t.Forbidden: l.reader, s4t.NotFound: l.foreign} {
		if _, err := cancel(caller, running.ID); s4t.KindOf(err) != want {
			t.Errorf("%s may: %v", caller.User, err)
		}
	}
	if op, err := cancel(l.member, running.ID); err != nil || op.Status != s4t.OperationCancelled || states(op) != "accepted started cancelled" {
		t.Errorf("%+v, %v", op, err)
	}
	if _, err := cancel(l.member, running.ID); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("twice: %v", err)
	}
	running, _ = l.run(moveTo3)
	l.disconnect(f)
	if _, err := cancel(l.member, running.ID); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("a board that is away: %v", err)
	}
	queued := moveTo3
	queued.Queue = time.Hour
	waits, err := l.run(queued)
	if err != nil {
		t.Fatal(err)
	}
	if op, err := cancel(l.member, waits.ID); err != nil || op.Status != s4t.OperationCancelled || states(op) != "queued cancelled" {
		t.Errorf("%+v, %v", op, err)
	}
	l.connect(f, "i1")
	if err := l.c.settle(t.Context(), f.id); err != nil || a.runs()[waits.ID] != 0 {
		t.Errorf("%v; the board was told of what was cancelled: %v", err, a.runs())
	}
	bridge := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"gate"}})
	if _, err := cancel(l.member, bridge.ID); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("what is no command: %v", err)
	}
}

// TestABoardThatIsDeletedEndsItsRuns.
func TestABoardThatIsDeletedEndsItsRuns(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		return ran(req, s4t.OperationStarted, ""), nil
	})
	op, err := l.run(moveTo3)
	if err != nil {
		t.Fatal(err)
	}
	call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "gate"})
	if op = l.becomes(op.ID, s4t.OperationFailed); op.ErrorKind != s4t.Offline || op.Run == nil || op.Run.Board != "gate" {
		t.Errorf("%+v", op)
	}
}

// TestManyBoardsRunACommand: each has a result of its own.
func TestManyBoardsRunACommand(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("b")
	c := l.commanded("c")
	off := l.commanded("off")
	l.disconnect(off)
	l.online("plain")
	a.answers(func(ctx context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		if req.Board == c.id {
			return silent(ctx, req)
		}
		return ran(req, s4t.OperationSucceeded, "1"), nil
	})
	req := wire.CommandFleet{CommandRun: moveTo3, Boards: []string{"off", "c", "plain", "b", "none", string(c.id)}}
	req.Caller = l.member
	got := call[wire.CommandResults](l, wire.MethodCommandFleet, req)
	var lines []string
	for _, op := range got.Items {
		lines = append(lines, fmt.Sprint(op.Run.Board, " ", op.Status, " ", op.ErrorKind, " ", op.ID != ""))
	}
	if text := strings.Join(lines, "; "); text != "b succeeded  true; c accepted offline true; none failed not_found false; off failed offline false; plain failed not_found false" {
		t.Errorf("%s", text)
	}
	for _, bad := range []wire.CommandFleet{{}, {Fleet: "f", Boards: []string{"b"}}} {
		bad.CommandRun, bad.Caller = moveTo3, l.member
		if _, err := try[wire.CommandResults](l, wire.MethodCommandFleet, bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	req.Caller = l.reader
	if _, err := try[wire.CommandResults](l, wire.MethodCommandFleet, req); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("a reader: %v", err)
	}
}

// TestCommandsAreListed, of one board and of all that the caller sees.
func TestCommandsAreListed(t *testing.T) {
	l := newLab(t)
	l.code()
	for _, name := range []string{"a", "b", "c"} {
		l.commanded(name)
	}
	names := func(list wire.List[s4t.Command]) string {
		var all []string
		for _, cmd := range list.Items {
			all = append(all, cmd.Board+"/"+cmd.Name)
		}
		return strings.Join(all, " ")
	}
	if got := names(call[wire.List[s4t.Command]](l, wire.MethodCommandList, wire.CommandList{Caller: l.reader, Board: "b"})); got != "b/any b/move b/stop" {
		t.Errorf("of b: %s", got)
	}
	first := call[wire.List[s4t.Command]](l, wire.MethodCommandList, wire.CommandList{Caller: l.reader, Page: wire.Page{Limit: 2}})
	rest := call[wire.List[s4t.Command]](l, wire.MethodCommandList, wire.CommandList{Caller: l.reader, Page: wire.Page{After: first.Next}})
	if got := names(first) + " | " + names(rest); got != "a/any a/move a/stop b/any b/move b/stop | c/any c/move c/stop" || rest.Next != "" {
		t.Errorf("of all: %s", got)
	}
	if got := call[wire.List[s4t.Command]](l, wire.MethodCommandList, wire.CommandList{Caller: l.foreign}); len(got.Items) != 0 {
		t.Errorf("another project sees %s", names(got))
	}
	if cmd := call[s4t.Command](l, wire.MethodCommandGet, wire.CommandGet{Caller: l.reader, Board: "a", Command: "move"}); cmd.Timeout != "1m" && cmd.Timeout != "1m0s" || cmd.Board != "a" || len(cmd.Params) == 0 {
		t.Errorf("%+v", cmd)
	}
}

// TestRunsHaveAShareOfTheirOwn: they push out no other operations, and what runs
// stays.
func TestRunsHaveAShareOfTheirOwn(t *testing.T) {
	l := newLab(t)
	l.code()
	f := l.commanded("gate")
	l.online("other")
	bridge := l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"gate", "other"}}))
	var all []store.Run
	const keep, together = 40, 10
	for i := range keep + 2*together + 5 {
		req := moveTo3
		req.Caller, req.Params = l.member, json.RawMessage(`{"to":3}`)
		run := l.c.newRun(req, store.Route{ID: f.id, Name: "gate", Project: projectID}, time.Hour).run
		if i > 0 {
			run.Status = s4t.OperationSucceeded
		}
		run.CreatedAt = run.CreatedAt.Add(time.Duration(i) * time.Microsecond)
		all = append(all, run)
	}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.InsertRuns(all) }); err != nil {
		t.Fatal(err)
	}
	if err := l.c.trimRuns(t.Context(), keep, together); err != nil {
		t.Fatal(err)
	}
	if err := l.db.View(t.Context(), func(tx *store.Tx) error {
		counts, _, err := tx.CountRuns()
		if counts[projectID] != keep {
			t.Errorf("%d runs are kept", counts[projectID])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if l.operation(bridge.ID).ID != bridge.ID || l.operation(all[0].ID).Status != s4t.OperationAccepted {
		t.Error("another operation, or a run that has not ended, was forgotten")
	}
	if _, err := try[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.admin, ID: all[1].ID}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("the oldest that ended: %v", err)
	}
}

// TestTwoConductorsRunAKeyOnce, though they meet.
func TestTwoConductorsRunAKeyOnce(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	second, stop := l.startSecond()
	defer stop()
	for i := range 20 {
		req := moveTo3
		req.Caller, req.Board, req.Key = l.member, "gate", fmt.Sprint("key", i)
		ids := make([]s4t.OperationID, 2)
		var asking sync.WaitGroup
		for k, c := range []*Conductor{l.c, second} {
			asking.Go(func() {
				op, err := c.commandRun(context.Background(), req)
				if err != nil {
					t.Error(err)
				}
				ids[k] = op.ID
			})
		}
		asking.Wait()
		if ids[0] != ids[1] || a.runs()[ids[0]] != 1 {
			t.Errorf("key %d: operations %v, the board was told %v", i, ids, a.runs()[ids[0]])
		}
	}
}

// TestLogsAndFeeds are asked of boards for who may see them.
func TestLogsAndFeeds(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	a.answers(func(context.Context, wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		return wire.CodeAnswer{Lines: []s4t.LogLine{{Seq: 1, Text: "hello"}}}, nil
	})
	logs := wire.BoardQuestion{Caller: l.reader, Board: "gate", Ask: wire.CodeAsk{Do: wire.CodeLogs, Plugin: "cam", Limit: 10}}
	if got := call[wire.CodeAnswer](l, wire.MethodBoardAsk, logs); len(got.Lines) != 1 {
		t.Errorf("%+v", got)
	}
	logs.Ask.Do = wire.CodeRun
	if _, err := try[wire.CodeAnswer](l, wire.MethodBoardAsk, logs); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("a run by another door: %v", err)
	}
	follow := wire.FeedFollow{Caller: l.reader, Board: "gate", Plugin: "cam", After: 7, Feed: wire.Feed{Topic: wire.TopicAPIFeeds + ".1", ID: s4t.NewID()}}
	call[wire.Empty](l, wire.MethodFeedFollow, follow)
	if ask := a.last(); ask.Do != wire.CodeFollow || ask.After != 7 || *ask.Feed != follow.Feed || ask.Term != wire.FeedTerm {
		t.Errorf("the board was asked %+v", ask)
	}
	follow.Feed.Topic = "conductor"
	if _, err := try[wire.Empty](l, wire.MethodFeedFollow, follow); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("a feed to anywhere: %v", err)
	}
	follow.Caller = l.foreign
	follow.Feed.Topic = wire.TopicAPIFeeds + ".1"
	if _, err := try[wire.Empty](l, wire.MethodFeedFollow, follow); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("another project: %v", err)
	}
}
