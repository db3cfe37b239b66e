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
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// pinAgent is the WAMP agent of boards whose pins do what a test says.
type pinAgent struct {
	mu      sync.Mutex // guards the fields below
	asked   []wire.BoardPins
	watched []wire.BoardPinsWatch
	answer  func(ctx context.Context, req wire.BoardPins) (wire.PinAnswer, error)
}

// pins serves them, for as long as a test lasts.
func (l *lab) pins() *pinAgent {
	l.t.Helper()
	l.beats()
	p := &pinAgent{answer: func(_ context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
		pin := s4t.Pin{Name: "sim/demo/out", Driver: "sim", Device: "demo", Unit: "a\x1bb"}
		return wire.PinAnswer{Pins: []s4t.Pin{pin}, Samples: []s4t.Sample{{Pin: "sim/demo/out", Seq: 1}, {Pin: "../../etc"}}}, nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	topic := wire.TopicWAMPPins + "." + string(wampID)
	serving.Go(func() {
		l.q.Serve(ctx, wire.TopicWAMPPins, string(wampID), 64, queue.Mux{
			wire.MethodPinsOfBoard: queue.Handle(func(ctx context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
				p.mu.Lock()
				p.asked = append(p.asked, req)
				answer := p.answer
				p.mu.Unlock()
				return answer(ctx, req)
			}),
			wire.MethodPinsWatch: queue.Handle(func(_ context.Context, req wire.BoardPinsWatch) (wire.PinAnswer, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.watched = append(p.watched, req)
				return wire.PinAnswer{Samples: []s4t.Sample{{Pin: "sim/demo/out", Seq: 7}}}, nil
			}),
		}.Serve)
	})
	l.t.Cleanup(func() { cancel(); serving.Wait() })
	for s4t.KindOf(l.q.Call(l.t.Context(), topic, "is it there", wire.Empty{}, nil)) == s4t.Unavailable {
		time.Sleep(time.Millisecond)
	}
	return p
}

// answers has the board answer in another way.
func (p *pinAgent) answers(fn func(ctx context.Context, req wire.BoardPins) (wire.PinAnswer, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = fn
}

// last is what the board was asked last.
func (p *pinAgent) last() wire.PinAsk {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[len(p.asked)-1].Ask
}

func (l *lab) askPins(caller wire.Caller, ask wire.PinAsk) (wire.PinAnswer, error) {
	return try[wire.PinAnswer](l, wire.MethodPinAsk, wire.PinRequest{Caller: caller, Board: "gate", Ask: ask})
}

// audited are the actions of the audit that are about pins, with their outcomes.
func (l *lab) audited() (lines []string) {
	l.t.Helper()
	if err := l.db.View(l.t.Context(), func(tx *store.Tx) error {
		records, err := tx.AuditRecords(store.AuditFilter{}, wire.Page{})
		lines = nil
		for _, r := range records.Items {
			if strings.HasPrefix(r.Action, "pin.") {
				lines = append(lines, fmt.Sprintf("%s %s %s %s", r.User, r.Action, r.Outcome, r.Detail))
			}
		}
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	return lines
}

var (
	readOut  = wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/demo/out"}}
	writeOut = wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"sim/demo/out": 1}}
	claimOut = wire.PinAsk{Do: wire.PinClaim, Pins: []string{"sim/demo/out"}, Priority: 3}
)

func TestWhoMayAskForPins(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	l.online("gate")
	a, err := l.askPins(l.reader, readOut)
	if err != nil || len(a.Samples) != 1 || a.Samples[0].Seq != 1 || strings.Contains(a.Pins[0].Unit, "\x1b") {
		t.Errorf("a reader reads %+v, %v", a, err)
	}
	if ask := p.last(); ask.Holder != "user:rob" || ask.HolderName != "user rob" {
		t.Errorf("the board was asked by %q, %q", ask.Holder, ask.HolderName)
	}
	for _, order := range []wire.PinAsk{
		writeOut, claimOut, {Do: wire.PinRelease, Pins: []string{"out"}}, {Do: wire.PinSet, Pins: []string{"out"}, Settings: map[string]string{"period": "1s"}},
	} {
		if _, err := l.askPins(l.reader, order); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("a reader may %s: %v", order.Do, err)
		}
		if _, err := l.askPins(l.foreign, order); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("another project's member may %s: %v", order.Do, err)
		}
		order.Holder, order.Operation = "user:somebody", "x" // not to be believed
		if _, err := l.askPins(l.member, order); err != nil || p.last().Holder != "user:mia" || p.last().Operation != "" {
			t.Errorf("a member may not %s: %v; as %+v", order.Do, err, p.last())
		}
	}
	if _, err := try[wire.PinAnswer](l, wire.MethodPinAsk, wire.PinRequest{Caller: wire.Caller{User: "mia", Project: projectID, Role: s4t.RoleAdmin}, Board: "gate", Ask: readOut}); s4t.KindOf(err) != s4t.Unauthenticated {
		t.Errorf("a caller that nobody vouched for: %v", err)
	}
	want := []string{
		"rob pin.write forbidden sim/demo/out=1", "mia pin.write ok sim/demo/out=1",
		"rob pin.claim forbidden sim/demo/out priority 3", "mia pin.claim ok sim/demo/out priority 3",
		"rob pin.release forbidden out", "mia pin.release ok out", "rob pin.set forbidden out period=1s", "mia pin.set ok out period=1s",
	}
	if got := l.audited(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the audit has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatIsNoQuestionAboutPins(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	l.online("gate")
	many := make([]string, s4t.MaxPinWatch+1)
	for i := range many {
		many[i] = "out"
	}
	for _, ask := range []wire.PinAsk{
		{}, {Do: "explode"}, {Do: wire.PinWatched, All: true}, {Do: wire.PinRead}, {Do: wire.PinRead, Pins: many}, {Do: wire.PinRead, Pins: []string{"a/b"}},
		{Do: wire.PinRead, Pins: []string{"../x"}}, {Do: wire.PinRead, Pins: []string{"a b"}}, {Do: wire.PinWrite}, {Do: wire.PinWrite, Pins: []string{"out"}},
		{Do: wire.PinWrite, Values: map[string]float64{"a": 1, "b": 1}, For: time.Second}, {Do: wire.PinWrite, Values: map[string]float64{"a": 1}, For: -1},
		{Do: wire.PinWrite, Values: map[string]float64{"a": 1}, For: s4t.MaxActuation + 1}, {Do: wire.PinWrite, Values: map[string]float64{"a": 1}, Priority: 101},
		{Do: wire.PinClaim, Pins: []string{"a", "b"}}, {Do: wire.PinClaim, Pins: []string{"a"}, Priority: -1}, {Do: wire.PinSet, Pins: []string{"a"}},
		{Do: wire.PinSet, Pins: []string{"a"}, Settings: map[string]string{"colour": "red"}}, {Do: wire.PinSet, Pins: []string{"a"}, Settings: map[string]string{"label": "a\nb"}},
		{Do: wire.PinHistory, Pins: []string{"a"}, Limit: wire.MaxSamples + 1},
	} {
		if _, err := l.askPins(l.member, ask); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", ask, err)
		}
	}
	for _, w := range []wire.PinWatch{{Sink: wire.Sink{Topic: "conductor"}}, {Sink: wire.Sink{Topic: wire.TopicAPIPins + ".1", Watcher: "x"}}, {Sink: wire.Sink{Topic: wire.TopicAPIPins + ".1"}, Pins: []string{"a/b"}}} {
		w.Caller, w.Board = l.reader, "gate"
		if _, err := try[wire.PinAnswer](l, wire.MethodPinWatch, w); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if len(p.asked)+len(p.watched) > 0 {
		t.Errorf("the board was asked %+v", p.asked)
	}
}

// TestABoardThatIsAway: it is not asked, or does not answer; what is known of its
// pins is told with its age.
func TestABoardThatIsAway(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	f := l.online("gate")
	list := wire.PinAsk{Do: wire.PinList}
	p.answers(func(ctx context.Context, _ wire.BoardPins) (wire.PinAnswer, error) {
		<-ctx.Done()
		return wire.PinAnswer{}, ctx.Err()
	})
	if _, err := l.askPins(l.member, list); s4t.KindOf(err) != s4t.Offline || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("a silent board without a copy: %v", err)
	}
	pins := []s4t.Pin{{Name: "sim/demo/out", Label: "lamp", Unit: "V\x00", Value: new(float64), Lease: &s4t.PinLease{}, Settings: map[string]string{"scale": "2", "x": "y"}}, {Name: "sim/demo/in"}}
	call[wire.Empty](l, wire.MethodBoardPins, wire.PinReport{Board: f.id, Epoch: f.epoch, Pins: &pins})
	if e := l.await("pins.changed", "gate"); e.Detail != "2 pins" {
		t.Errorf("the event says %+v", e)
	}
	for _, way := range []string{"silent", "offline"} {
		if way == "offline" {
			l.disconnect(f)
		}
		a, err := l.askPins(l.reader, list)
		if err != nil || a.ReportedAt == nil || len(a.Pins) != 2 || a.Pins[1].Label != "lamp" || a.Pins[1].Value != nil || a.Pins[1].Lease != nil || len(a.Pins[1].Settings) != 1 {
			t.Errorf("%s: %+v, %v", way, a, err)
		}
		if a, err = l.askPins(l.reader, wire.PinAsk{Do: wire.PinList, Pins: []string{"lamp"}}); err != nil || len(a.Pins) != 1 {
			t.Errorf("%s, by its label: %+v, %v", way, a, err)
		}
		if _, err = l.askPins(l.reader, wire.PinAsk{Do: wire.PinList, Pins: []string{"none"}}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s, no such pin: %v", way, err)
		}
		for _, ask := range []wire.PinAsk{readOut, writeOut, claimOut} {
			if _, err := l.askPins(l.member, ask); s4t.KindOf(err) != s4t.Offline {
				t.Errorf("%s, %s: %v", way, ask.Do, err)
			}
		}
	}
	var outcomes []string
	for _, line := range l.audited() { // what was sent to the board may have been done
		outcomes = append(outcomes, strings.Join(strings.Fields(line)[1:3], " "))
	}
	if got := strings.Join(outcomes, ", "); got != "pin.write offline, pin.claim offline" {
		t.Errorf("the audit has %s", got)
	}
}

// TestAnUnchangedReportWritesNothing, nor tells of it.
func TestAnUnchangedReportWritesNothing(t *testing.T) {
	l := newLab(t)
	l.beats()
	f := l.online("gate")
	report := func(epoch int64, pins ...s4t.Pin) error {
		_, err := try[wire.Empty](l, wire.MethodBoardPins, wire.PinReport{Board: f.id, Epoch: epoch, Pins: &pins})
		return err
	}
	events := func() int64 {
		return call[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: l.admin, Limit: 1}).EventID
	}
	one, two := s4t.Pin{Name: "sim/demo/out"}, s4t.Pin{Name: "sim/demo/in"}
	if err := report(f.epoch, one, two); err != nil {
		t.Fatal(err)
	}
	before := events()
	one.Value = new(float64) // no metadata
	if err := report(f.epoch, two, one); err != nil || events() != before {
		t.Errorf("the same in another order: %v, events up to %d, before %d", err, events(), before)
	}
	if err := report(f.epoch, two); err != nil || events() != before+1 {
		t.Errorf("one less: %v, events up to %d, before %d", err, events(), before)
	}
	if err := report(f.epoch-1, one); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("by a session that is over: %v", err)
	}
	if err := report(f.epoch, s4t.Pin{Name: "x"}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("what is no pin: %v", err)
	}
	large := make([]s4t.Pin, s4t.MaxPins)
	for i := range large {
		large[i] = s4t.Pin{Name: fmt.Sprintf("sim/demo/%d", i), Guarantee: strings.Repeat("x", wire.MaxProblem), Problem: strings.Repeat("x", wire.MaxProblem), Settings: map[string]string{"scale": strings.Repeat("1", s4t.MaxLabelText), "label": strings.Repeat("x", s4t.MaxLabelText)}}
	}
	if err := report(f.epoch, large...); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("more than is kept of one board: %v", err)
	}
	if err := report(f.epoch, append(large, one)...); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("more pins than a board has: %v", err)
	}
}

// TestClaimsAreNumbered, above what the board knows where the database is older.
func TestClaimsAreNumbered(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	l.online("gate")
	byLabel := claimOut
	byLabel.Pins = []string{"gate"}
	for fence := range int64(3) {
		if _, err := l.askPins(l.member, byLabel); err != nil || p.last().Fence != fence+1 {
			t.Errorf("claim %d has number %d, %v", fence+1, p.last().Fence, err)
		}
	}
	e := l.await("pin.claimed", "gate")
	if e.Detail != "sim/demo/out: user mia" {
		t.Errorf("the event says %+v", e)
	}
	p.answers(func(_ context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
		if req.Ask.Fence <= 40 {
			return wire.PinAnswer{Fence: 40}, nil
		}
		return wire.PinAnswer{Pins: []s4t.Pin{{Name: "sim/demo/out"}}}, nil
	})
	for fence := range int64(2) {
		if a, err := l.askPins(l.member, claimOut); err != nil || len(a.Pins) != 1 || p.last().Fence != 41+fence {
			t.Errorf("after a restored backup: %d, %+v, %v", p.last().Fence, a, err)
		}
	}
	p.answers(func(_ context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
		return wire.PinAnswer{Fence: req.Ask.Fence}, nil
	})
	if _, err := l.askPins(l.member, claimOut); s4t.KindOf(err) != s4t.Stale {
		t.Errorf("a board that always knows a newer one: %v", err)
	}
}

// TestAValueWrittenForATimeIsAnOperation, which ends as the board says, or by the
// clock.
func TestAValueWrittenForATimeIsAnOperation(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	f, other := l.online("gate"), l.online("other")
	order := writeOut
	order.For = time.Minute
	begin := func() s4t.Operation {
		t.Helper()
		a, err := l.askPins(l.member, order)
		if err != nil || a.Operation == nil || a.Operation.Status != s4t.OperationRunning || p.last().Operation != a.Operation.ID {
			t.Fatalf("%+v, %v", a, err)
		}
		return *a.Operation
	}
	ends := func(b *fakeBoard, op s4t.Operation, outcome string) {
		t.Helper()
		call[wire.Empty](l, wire.MethodBoardPins, wire.PinReport{Board: b.id, Epoch: b.epoch, Ended: []wire.PinEnded{
			{Pin: "sim/demo/out", Operation: op.ID, Outcome: outcome, Holder: "user mia", By: "user ann", Detail: "it is gone"}}})
	}
	for outcome, want := range map[string]s4t.Kind{wire.PinOver: "", wire.PinReleased: "", wire.PinReaped: s4t.Conflict, wire.PinFailed: s4t.Unavailable} {
		op := begin()
		ends(other, op, wire.PinReaped) // not that board's
		for range 2 {                   // and again, as it may not have heard
			ends(f, op, outcome)
		}
		if op = l.ended(op); op.ErrorKind != want || (want == s4t.Conflict) != strings.Contains(op.Error, "user ann took pin sim/demo/out") {
			t.Errorf("%s: %s %s %s", outcome, op.Status, op.ErrorKind, op.Error)
		}
	}
	if e := l.await("pin.reaped", "gate"); e.Detail != "sim/demo/out: user ann took it from user mia" {
		t.Errorf("the event says %+v", e)
	}
	p.answers(func(context.Context, wire.BoardPins) (wire.PinAnswer, error) {
		return wire.PinAnswer{}, s4t.Errorf(s4t.Conflict, "write pin", "", "user ann has it")
	})
	if _, err := l.askPins(l.member, order); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("the board refuses: %v", err)
	}
	if op := l.ended(s4t.Operation{ID: p.last().Operation}); op.ErrorKind != s4t.Conflict {
		t.Errorf("its operation: %+v", op)
	}
	p.answers(func(context.Context, wire.BoardPins) (wire.PinAnswer, error) { return wire.PinAnswer{}, nil })
	defer func() {
		op := begin()
		call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "gate"})
		if op = l.ended(op); op.ErrorKind != s4t.Offline {
			t.Errorf("its board was deleted: %+v", op)
		}
	}()
	call[wire.Empty](l, wire.MethodBoardPins, wire.PinReport{Board: f.id, Epoch: f.epoch, Ended: []wire.PinEnded{{Pin: "sim/demo/out", Fence: 3, Outcome: wire.PinOver, Holder: "user mia"}}})
	l.await("pin.released", "gate")
}

// TestAValueWhoseBoardIsNotHeardOfEndsByTheClock, not before its time.
func TestAValueWhoseBoardIsNotHeardOfEndsByTheClock(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	l.pins()
	l.online("gate")
	order := writeOut
	order.For = 5 * time.Minute
	a, err := l.askPins(l.member, order)
	if err != nil {
		t.Fatal(err)
	}
	now := func() s4t.Operation {
		return call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.admin, ID: a.Operation.ID})
	}
	l.skew.Add(int64(time.Minute)) // a jump: operations get their time again
	l.c.upkeep(t.Context())
	l.ahead(4*time.Minute + 30*time.Second)
	if op := now(); op.Status != s4t.OperationRunning {
		t.Errorf("before its time: %+v", op)
	}
	l.ahead(time.Minute)
	if op := now(); op.ErrorKind != s4t.Timeout {
		t.Errorf("after it: %+v", op)
	}
}

// TestSilentBoardsOfAProjectLeaveRoomForOthers, whatever one asks of them.
func TestSilentBoardsOfAProjectLeaveRoomForOthers(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	l.online("gate")
	l.c.pinQuestions.most = 8
	hold, held := make(chan struct{}), make(chan struct{}, 64)
	p.answers(func(ctx context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
		held <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return wire.PinAnswer{}, nil
	})
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() { l.askPins(l.member, readOut) })
	}
	for range 8 {
		<-held
	}
	if _, err := l.askPins(l.reader, readOut); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more of the project: %v", err)
	}
	if _, err := l.askPins(l.foreign, readOut); s4t.KindOf(err) != s4t.NotFound { // it has no such board, and is heard
		t.Errorf("one of another project: %v", err)
	}
	close(hold)
	asking.Wait()
}

// TestTheCopyOfAllBoards: one answer for 1,000 of them, and a word where nothing
// has changed.
func TestTheCopyOfAllBoards(t *testing.T) {
	l := newLab(t)
	l.beats()
	var pins []s4t.Pin
	for i := range 8 {
		pins = append(pins, s4t.Pin{Name: fmt.Sprintf("gpio/gpiochip0/%d", i), Driver: "gpio", Device: "gpiochip0", Kind: s4t.PinDigital, Direction: s4t.PinOut, Guarantee: "it stays as it is",
			Keys: s4t.PinKeys, Settings: map[string]string{"direction": "out", "edge": "none", "bias": "as-is", "debounce": "0", "period": "1s", "threshold": "", "deadband": "0", "scale": "1", "fallback": "hold"}})
	}
	text, err := copyPins("test", pins)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		for i := range 1000 {
			id := s4t.BoardID(s4t.NewID())
			b := store.Board{Board: s4t.Board{ID: id, Name: fmt.Sprintf("board%04d", i), Project: projectID, Status: s4t.BoardRegistered, CreatedAt: time.Now()}}
			if err := tx.InsertBoard(b); err != nil {
				return err
			}
			if err := tx.SetBoardPins(id, text, time.Now()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f := l.online("gate")
	all := call[wire.PinBoards](l, wire.MethodPinAll, wire.PinAll{Caller: l.reader})
	if len(all.Items) != 1001 || all.Next != "" || len(all.Items[5].Pins) != 8 || all.Items[5].ReportedAt == nil || all.Items[1000].Name != "gate" || all.Items[1000].Pins == nil || all.Items[1000].ReportedAt != nil {
		t.Errorf("%d boards, next %q", len(all.Items), all.Next)
	}
	if again := call[wire.PinBoards](l, wire.MethodPinAll, wire.PinAll{Caller: l.reader, Known: all.EventID}); !again.Unchanged || again.EventID < all.EventID {
		t.Errorf("nothing changed: %d boards, as of %d", len(again.Items), again.EventID)
	}
	call[wire.Empty](l, wire.MethodBoardPins, wire.PinReport{Board: f.id, Epoch: f.epoch, Pins: &pins})
	some := call[wire.PinBoards](l, wire.MethodPinAll, wire.PinAll{Caller: l.reader, Known: all.EventID, Boards: []string{"gate", string(all.Items[7].ID)}})
	if some.Unchanged || len(some.Items) != 2 || len(some.Items[1].Pins) != 8 || some.Items[1].Status != s4t.BoardOnline || some.Items[1].Epoch != 1 {
		t.Errorf("two that are named, after a change: %d boards, %v", len(some.Items), some.Unchanged)
	}
	if foreign := call[wire.PinBoards](l, wire.MethodPinAll, wire.PinAll{Caller: l.foreign}); len(foreign.Items) != 0 {
		t.Errorf("another project sees %d", len(foreign.Items))
	}

	// A board that mounts gets them in pages that its control channel takes.
	ask, seen := wire.PinAll{}, 0
	for {
		raw := call[json.RawMessage](l, wire.MethodBoardRemote, wire.PinRemote{Board: f.id, Epoch: f.epoch, All: &ask})
		if len(raw) > s4t.MaxMessage*9/10 {
			t.Fatalf("a page has %d bytes", len(raw))
		}
		var page wire.PinRemoteAnswer
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		seen += len(page.All.Items)
		if ask.Page.After = page.All.Next; ask.Page.After == "" {
			break
		}
	}
	if seen != 1000 {
		t.Errorf("a board sees %d others", seen)
	}
}

// TestABoardAsksForThePinsOfOthers, in its own name and project only.
func TestABoardAsksForThePinsOfOthers(t *testing.T) {
	l := newLab(t)
	p := l.pins()
	f := l.online("hub")
	l.online("gate")
	remote := func(req wire.PinRemote) (wire.PinRemoteAnswer, error) {
		req.Board, req.Epoch = f.id, f.epoch
		return try[wire.PinRemoteAnswer](l, wire.MethodBoardRemote, req)
	}
	order := writeOut
	order.Holder = "user:mia"
	if a, err := remote(wire.PinRemote{Ask: &wire.PinRequest{Caller: l.admin, Board: "gate", Ask: order}}); err != nil || len(a.Answer.Pins) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if ask := p.last(); ask.Holder != "board:"+string(f.id) || ask.HolderName != "board hub" {
		t.Errorf("in the name of %q, %q", ask.Holder, ask.HolderName)
	}
	watch := wire.PinWatch{Board: "gate", Sink: wire.Sink{Topic: "conductor", Watcher: "x"}}
	if a, err := remote(wire.PinRemote{Watch: &watch}); err != nil || len(a.Answer.Samples) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if got := p.watched[0].Sink; got != (wire.Sink{Topic: wire.TopicWAMPPins + "." + string(wampID), Watcher: f.id}) {
		t.Errorf("samples go to %+v", got)
	}
	if _, err := remote(wire.PinRemote{Ask: &wire.PinRequest{Board: "elsewhere", Ask: readOut}}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a board that is not there: %v", err)
	}
	if _, err := remote(wire.PinRemote{}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("nothing: %v", err)
	}
	if _, err := try[wire.Empty](l, wire.MethodBoardRemote, wire.PinRemote{Board: f.id, Epoch: f.epoch - 1, All: &wire.PinAll{}}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("by a session that is over: %v", err)
	}
	if got := strings.Join(l.audited(), "; "); got != "board:hub pin.write ok sim/demo/out=1" {
		t.Errorf("the audit has %s", got)
	}
}
