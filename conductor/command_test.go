package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// codeAgent is the WAMP agent of boards whose commands do what a test says.
type codeAgent struct {
	l *lab

	mu     sync.Mutex // guards the fields below
	asked  []wire.BoardCodeAsk
	answer func(ctx context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error)
}

var commands = []s4t.Command{
	{Name: "any", Source: s4t.CommandOfOwner, Params: json.RawMessage(`{"type":"object"}`), Timeout: "10s"},
	{Name: "move", Source: s4t.CommandOfOwner, Timeout: "1m",
		Params: json.RawMessage(`{"type":"object","properties":{"to":{"type":"integer","maximum":9}},"required":["to"]}`), Result: json.RawMessage(`{"type":"integer"}`)},
	{Name: "stop", Source: s4t.CommandOfOwner, Timeout: "10s"},
}

// code serves them, for as long as a test lasts. By default a run succeeds at once.
func (l *lab) code() *codeAgent {
	l.t.Helper()
	l.beats()
	a := &codeAgent{l: l}
	a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		if req.Ask.Do == wire.CodeRun {
			return ran(req, s4t.OperationSucceeded, "7"), nil
		}
		return wire.CodeAnswer{Unknown: req.Ask.IDs}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		l.q.Serve(ctx, wire.TopicWAMPCommands, string(wampID), 64, queue.Mux{
			wire.MethodCodeAsk: queue.Handle(func(ctx context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
				a.mu.Lock()
				a.asked = append(a.asked, req)
				answer := a.answer
				a.mu.Unlock()
				return answer(ctx, req)
			}),
		}.Serve)
	})
	l.t.Cleanup(func() { cancel(); serving.Wait() })
	for s4t.KindOf(l.q.Call(l.t.Context(), wire.TopicWAMPCommands+"."+string(wampID), "is it there", wire.Empty{}, nil)) == s4t.Unavailable {
		time.Sleep(time.Millisecond)
	}
	return a
}

// answers has boards answer in another way.
func (a *codeAgent) answers(fn func(ctx context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = fn
}

// runs are those that boards were told of, by the id of each, and how often.
func (a *codeAgent) runs() map[s4t.OperationID]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := map[s4t.OperationID]int{}
	for _, q := range a.asked {
		if q.Ask.Do == wire.CodeRun {
			told[q.Ask.Run.ID]++
		}
	}
	return told
}

// last is what a board was asked last.
func (a *codeAgent) last() wire.CodeAsk {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[len(a.asked)-1].Ask
}

// ran is the answer that a run is so.
func ran(req wire.BoardCodeAsk, status s4t.OperationStatus, result string) wire.CodeAnswer {
	s := wire.RunState{Status: status, AcceptedAt: time.Now()}
	if req.Ask.Run != nil {
		s.ID = req.Ask.Run.ID
	} else {
		s.ID = req.Ask.IDs[0]
	}
	if status != s4t.OperationAccepted && status != s4t.OperationExpired {
		s.StartedAt = time.Now()
	}
	if status.Ended() {
		s.EndedAt = time.Now()
	}
	if result != "" {
		s.Result = json.RawMessage(result)
	}
	return wire.CodeAnswer{Runs: []wire.RunState{s}}
}

// silent is a board that does not answer.
func silent(ctx context.Context, _ wire.BoardCodeAsk) (wire.CodeAnswer, error) {
	<-ctx.Done()
	return wire.CodeAnswer{}, ctx.Err()
}

// commanded creates a board that has commands, and connects it.
func (l *lab) commanded(name string) *fakeBoard {
	l.t.Helper()
	f := l.online(name)
	l.saysCommands(f)
	return f
}

func (l *lab) saysCommands(f *fakeBoard) {
	l.t.Helper()
	call[wire.Empty](l, wire.MethodBoardCode, wire.CodeReport{Board: f.id, Epoch: f.epochNow(l), Commands: commands})
}

func (l *lab) run(req wire.CommandRun) (s4t.Operation, error) {
	if req.Caller.User == "" {
		req.Caller = l.member
	}
	if req.Board == "" {
		req.Board = "gate"
	}
	return try[s4t.Operation](l, wire.MethodCommandRun, req)
}

var moveTo3 = wire.CommandRun{Command: "move", Params: json.RawMessage(`{"to": 3}`)}

// states are the names of the steps of an operation.
func states(op s4t.Operation) string {
	var names []string
	for i, s := range op.Steps {
		if s.Number != i+1 {
			names = append(names, fmt.Sprintf("(%d!)", s.Number))
		}
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// operation reads one.
func (l *lab) operation(id s4t.OperationID) s4t.Operation {
	l.t.Helper()
	return call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.admin, ID: id})
}

// becomes waits until a run has a status.
func (l *lab) becomes(id s4t.OperationID, status s4t.OperationStatus) s4t.Operation {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	return l.watch(id, func(op s4t.Operation) bool {
		if time.Now().After(deadline) {
			l.t.Fatalf("operation %s stays %s", id, op.Status)
		}
		return op.Status == status
	})
}

// TestACommandRuns, and what came of it is recorded.
func TestACommandRuns(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f := l.commanded("gate")
	op, err := l.run(moveTo3)
	if err != nil || op.Status != s4t.OperationSucceeded || states(op) != "accepted started succeeded" || string(op.Run.Result) != "7" || op.EndedAt == nil {
		t.Fatalf("%+v, %v", op, err)
	}
	sent := a.last().Run
	if sent.ID != op.ID || sent.Key != string(op.ID) || string(sent.Params) != `{"to":3}` || sent.Timeout != time.Minute || sent.Project != projectID || sent.By != "mia" || sent.Before.IsZero() || a.last().Wait != wire.RunWait {
		t.Errorf("the board was told %+v", sent)
	}
	kept := l.operation(op.ID)
	if kept.Status != op.Status || states(kept) != states(op) || string(kept.Run.Result) != "7" || kept.Run.Board != "gate" || kept.Run.BoardID != f.id || kept.Run.Command != "move" || kept.Object != string(f.id) {
		t.Errorf("it is kept as %+v", kept)
	}
	list := items[s4t.Operation](l, wire.MethodOperationList, wire.ListRequest{Caller: l.reader})
	if i := slices.IndexFunc(list, func(o s4t.Operation) bool { return o.ID == op.ID }); i < 0 || list[i].Run == nil || string(list[i].Run.Params) != `{"to":3}` {
		t.Errorf("the list has %+v", list)
	}
	call[wire.Empty](l, wire.MethodOperationDone, wire.RefRequest{Caller: l.member, Ref: string(op.ID)})
	if again := l.operation(op.ID); states(again) != states(op) {
		t.Errorf("who was told is a step of it: %s", states(again))
	}
	op, err = l.run(wire.CommandRun{Command: "move", Params: json.RawMessage(`{"to":3}`), Deadline: 5 * time.Second})
	if err != nil || a.last().Run.Timeout != 5*time.Second {
		t.Errorf("with a deadline: %+v, %v", a.last().Run, err)
	}
	for _, kind := range l.kinds() {
		if strings.HasPrefix(kind, "operation.") && strings.HasSuffix(kind, "gate") {
			t.Errorf("an event tells of it: %s", kind)
		}
	}
	if got := l.auditOf("command."); got != "mia command.run ok move; mia command.run ok move" {
		t.Errorf("the audit has %s", got)
	}
}

// auditOf are the records of the audit whose action begins so.
func (l *lab) auditOf(prefix string) string {
	l.t.Helper()
	var lines []string
	if err := l.db.View(l.t.Context(), func(tx *store.Tx) error {
		records, err := tx.AuditRecords(store.AuditFilter{}, wire.Page{})
		lines = nil
		for _, r := range records.Items {
			if strings.HasPrefix(r.Action, prefix) {
				lines = append(lines, fmt.Sprintf("%s %s %s %s", r.User, r.Action, r.Outcome, r.Detail))
			}
		}
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}

// TestWhatIsRefusedAtTheDoor leaves no operation, and no board hears of it.
func TestWhatIsRefusedAtTheDoor(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	away := l.commanded("away")
	l.disconnect(away)
	l.online("plain")
	l.board("never")
	for name, c := range map[string]struct {
		req  wire.CommandRun
		want s4t.Kind
		says string
	}{
		"a reader":             {wire.CommandRun{Caller: l.reader, Command: "stop"}, s4t.Forbidden, ""},
		"another project":      {wire.CommandRun{Caller: l.foreign, Command: "stop"}, s4t.NotFound, ""},
		"no board":             {wire.CommandRun{Board: "none", Command: "stop"}, s4t.NotFound, ""},
		"no command":           {wire.CommandRun{Command: "none"}, s4t.NotFound, "s4t command list gate"},
		"a board without any":  {wire.CommandRun{Board: "plain", Command: "stop"}, s4t.NotFound, ""},
		"one never here":       {wire.CommandRun{Board: "never", Command: "stop"}, s4t.Offline, "has not said yet"},
		"a name twice":         {wire.CommandRun{Command: "any", Params: json.RawMessage(`{"a":1,"a":2}`)}, s4t.Invalid, `named "a"`},
		"half a pair":          {wire.CommandRun{Command: "any", Params: json.RawMessage(`{"a":"\ud800"}`)}, s4t.Invalid, "surrogate"},
		"no name":              {wire.CommandRun{Command: "../x"}, s4t.Invalid, ""},
		"parameters":           {wire.CommandRun{Command: "move", Params: json.RawMessage(`{"to":10}`)}, s4t.Invalid, "/to: maximum"},
		"none":                 {wire.CommandRun{Command: "move"}, s4t.Invalid, "missing property 'to'"},
		"some":                 {wire.CommandRun{Command: "stop", Params: json.RawMessage(`{"a":1}`)}, s4t.Invalid, "no parameters"},
		"no object":            {wire.CommandRun{Command: "any", Params: json.RawMessage(`[1]`)}, s4t.Invalid, ""},
		"no text":              {wire.CommandRun{Command: "any", Params: json.RawMessage("{\"a\":\"\xff\"}")}, s4t.Invalid, ""},
		"too many":             {wire.CommandRun{Command: "any", Params: json.RawMessage(`{"a":"` + strings.Repeat("x", s4t.MaxCommandParams) + `"}`)}, s4t.Invalid, "at most 65536 are possible"},
		"a key":                {wire.CommandRun{Command: "stop", Key: "a\nb"}, s4t.Invalid, ""},
		"a deadline":           {wire.CommandRun{Command: "stop", Deadline: -1}, s4t.Invalid, ""},
		"a queue":              {wire.CommandRun{Command: "stop", Queue: s4t.MaxCommandQueue + 1}, s4t.Invalid, ""},
		"a feed":               {wire.CommandRun{Command: "stop", Feed: &wire.Feed{Topic: "conductor", ID: s4t.NewID()}}, s4t.Invalid, ""},
		"a board that is away": {wire.CommandRun{Board: "away", Command: "stop"}, s4t.Offline, "--queue"},
	} {
		if op, err := l.run(c.req); s4t.KindOf(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, op, err)
		}
	}
	if n := len(a.runs()); n > 0 {
		t.Errorf("boards were told of %d", n)
	}
	for _, op := range items[s4t.Operation](l, wire.MethodOperationList, wire.ListRequest{Caller: l.admin}) {
		if op.Kind == store.KindRun {
			t.Errorf("there is %+v", op)
		}
	}
}

// TestHowARunEnds: as its board says, unless it lies.
func TestHowARunEnds(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	for name, c := range map[string]struct {
		state  wire.RunState
		status s4t.OperationStatus
		kind   s4t.Kind
		says   string
	}{
		"well":             {wire.RunState{Status: s4t.OperationSucceeded, Result: json.RawMessage(`8`)}, s4t.OperationSucceeded, "", ""},
		"badly":            {wire.RunState{Status: s4t.OperationFailed, Error: "exit status 3", ErrorKind: s4t.Conflict}, s4t.OperationFailed, s4t.Conflict, "exit status 3"},
		"its own word":     {wire.RunState{Status: s4t.OperationFailed, Error: "exit status 3"}, s4t.OperationFailed, s4t.Failed, "exit status 3"},
		"a strange kind":   {wire.RunState{Status: s4t.OperationFailed, Error: "a\x1bb", ErrorKind: "strange"}, s4t.OperationFailed, s4t.Unavailable, "a"},
		"no word":          {wire.RunState{Status: s4t.OperationFailed}, s4t.OperationFailed, s4t.Unavailable, "did not say why"},
		"a lie":            {wire.RunState{Status: s4t.OperationSucceeded, Result: json.RawMessage(`"x"`)}, s4t.OperationFailed, s4t.Invalid, "not what it promised: got string, want integer"},
		"a lie by silence": {wire.RunState{Status: s4t.OperationSucceeded}, s4t.OperationFailed, s4t.Invalid, "not what it promised"},
		"a flood":          {wire.RunState{Status: s4t.OperationSucceeded, Result: json.RawMessage(`"` + strings.Repeat("x", s4t.MaxCommandResult) + `"`)}, s4t.OperationFailed, s4t.Invalid, "bytes"},
		"expired":          {wire.RunState{Status: s4t.OperationExpired, Error: "it waited too long"}, s4t.OperationExpired, "", "too long"},
		"cancelled":        {wire.RunState{Status: s4t.OperationCancelled}, s4t.OperationCancelled, "", ""},
	} {
		a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
			s := c.state
			s.ID, s.AcceptedAt, s.EndedAt = req.Ask.Run.ID, time.Now(), time.Now().Add(time.Hour)
			return wire.CodeAnswer{Runs: []wire.RunState{s}}, nil
		})
		op, err := l.run(moveTo3)
		if err != nil || op.Status != c.status || op.ErrorKind != c.kind || !strings.Contains(op.Error, c.says) || strings.Contains(op.Error, "\x1b") || op.EndedAt == nil || op.EndedAt.After(time.Now()) || op.Status != s4t.OperationSucceeded && op.Run.Result != nil {
			t.Errorf("%s: %+v, %v", name, op, err)
		}
	}
	for _, kind := range []s4t.Kind{s4t.NotFound, s4t.TooMany, s4t.Forbidden} {
		a.answers(func(context.Context, wire.BoardCodeAsk) (wire.CodeAnswer, error) {
			return wire.CodeAnswer{}, s4t.Errorf(kind, "run", "", "not now")
		})
		if op, err := l.run(moveTo3); err != nil || op.Status != s4t.OperationFailed || op.ErrorKind != kind || states(op) != "accepted failed" {
			t.Errorf("the board refuses with %s: %+v, %v", kind, op, err)
		}
	}
}

// TestARunThatTakesLongIsHeardOfLater, once, in full where the cloud wants it.
func TestARunThatTakesLongIsHeardOfLater(t *testing.T) {
	l := newLab(t)
	a := l.code()
	f, other := l.commanded("gate"), l.commanded("other")
	a.answers(func(_ context.Context, req wire.BoardCodeAsk) (wire.CodeAnswer, error) {
		return ran(req, s4t.OperationStarted, ""), nil
	})
	async := moveTo3
	async.Async = true
	op, err := l.run(async)
	if err != nil || op.Status != s4t.OperationStarted || states(op) != "accepted started" || a.last().Wait != 0 {
		t.Fatalf("%+v, %v", op, err)
	}
	report := func(b *fakeBoard, full bool, s wire.RunState) []s4t.OperationID {
		t.Helper()
		return call[wire.RunsHeard](l, wire.MethodBoardRuns, wire.RunReport{Board: b.id, Epoch: b.epochNow(l), Full: full, Runs: []wire.RunState{s}}).Want
	}
	short := wire.RunState{ID: op.ID, Status: s4t.OperationSucceeded}
	if want := report(other, false, short); len(want) > 0 {
		t.Errorf("of another board's run it wants %v", want)
	}
	if want := report(f, false, short); len(want) != 1 || want[0] != op.ID {
		t.Errorf("it wants %v", want)
	}
	full := short
	full.Result, full.EndedAt = json.RawMessage(`5`), time.Now()
	report(other, true, full)
	if now := l.operation(op.ID); now.Status != s4t.OperationStarted {
		t.Errorf("another board ended it: %+v", now)
	}
	for range 2 {
		if want := report(f, true, full); len(want) > 0 {
			t.Errorf("it wants more: %v", want)
		}
	}
	if now := l.becomes(op.ID, s4t.OperationSucceeded); string(now.Run.Result) != "5" || states(now) != "accepted started succeeded" {
		t.Errorf("%+v", now)
	}
	if want := report(f, false, short); len(want) > 0 {
		t.Errorf("what it heard it wants again: %v", want)
	}
	if e := l.await("operation.succeeded", "gate"); !strings.Contains(e.Detail, "move") {
		t.Errorf("the event says %+v", e)
	}
	if _, err := try[wire.RunsHeard](l, wire.MethodBoardRuns, wire.RunReport{Board: f.id, Epoch: f.epochNow(l) - 1}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("by a session that is over: %v", err)
	}
	lie, _ := l.run(async)
	full.ID, full.Result = lie.ID, json.RawMessage(`{}`)
	report(f, true, full)
	if now := l.becomes(lie.ID, s4t.OperationFailed); now.ErrorKind != s4t.Invalid {
		t.Errorf("a lie that is told later: %+v", now)
	}
}

// TestAKeyIsOneRun, at the same time too.
func TestAKeyIsOneRun(t *testing.T) {
	l := newLab(t)
	a := l.code()
	l.commanded("gate")
	l.commanded("other")
	req := moveTo3
	req.Key = "order 7"
	ids := make([]s4t.OperationID, 16)
	var asking sync.WaitGroup
	for i := range ids {
		asking.Go(func() {
			req := req
			if i%2 == 1 {
				req.Params = json.RawMessage(`{ "to":3 }`)
			}
			op, err := l.run(req)
			if err != nil {
				t.Error(err)
			}
			ids[i] = op.ID
		})
	}
	asking.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 || a.runs()[ids[0]] != 1 || a.last().Run.Key != string(projectID)+":order 7" {
		t.Errorf("there are operations %v, the board was told of %v", ids, a.runs())
	}
	l.becomes(ids[0], s4t.OperationSucceeded)
	for _, params := range []string{`{"to":4}`, ``} {
		another := req
		if another.Params = json.RawMessage(params); params == "" {
			another.Command = "stop"
		}
		if _, err := l.run(another); s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("the key for something else: %v", err)
		}
	}
	elsewhere := req
	elsewhere.Board = "other"
	if op, err := l.run(elsewhere); err != nil || op.ID == ids[0] {
		t.Errorf("the key on another board: %+v, %v", op, err)
	}
}
