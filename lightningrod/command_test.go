package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// hearingCloud is a session with a cloud that hears of runs and takes lines.
type hearingCloud struct {
	*fakeCloud
	wants bool // it asks for all in full

	hmu     sync.Mutex // guards what follows
	refuse  error      // of the next report
	reports []wire.RunReport
	lines   []wire.FeedLines
	hold    chan struct{} // not nil: lines are answered when it can be received from
}

func newHearingCloud() *hearingCloud { return &hearingCloud{fakeCloud: newFakeCloud(testDesired(1))} }

func (c *hearingCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	switch procedure {
	case wamp.Runs:
		c.hmu.Lock()
		defer c.hmu.Unlock()
		if err := c.refuse; err != nil {
			c.refuse = nil
			return err
		}
		r := arg.(wire.RunReport)
		c.reports = append(c.reports, r)
		if c.wants && !r.Full {
			for _, st := range r.Runs {
				reply.(*wire.RunsHeard).Want = append(reply.(*wire.RunsHeard).Want, st.ID)
			}
		}
		return nil
	case wamp.Lines:
		if c.hold != nil {
			select {
			case <-c.hold:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c.hmu.Lock()
		defer c.hmu.Unlock()
		c.lines = append(c.lines, arg.(wire.FeedLines))
		return nil
	}
	return c.fakeCloud.Call(ctx, procedure, arg, reply)
}

func (c *hearingCloud) heard() []wire.RunReport {
	c.hmu.Lock()
	defer c.hmu.Unlock()
	return slices.Clone(c.reports)
}

func (c *hearingCloud) taken() []wire.FeedLines {
	c.hmu.Lock()
	defer c.hmu.Unlock()
	return slices.Clone(c.lines)
}

// fakePlugins are commands without processes. A command waits until the test lets it
// go on, but for "echo", which answers its parameters.
type fakePlugins struct {
	mu    sync.Mutex
	calls map[string]int // by run
	goOn  chan error     // of "wait"
	log   func([]s4t.LogLine)
}

func newFakePlugins() *fakePlugins {
	return &fakePlugins{calls: map[string]int{}, goOn: make(chan error)}
}

func (p *fakePlugins) Commands() []s4t.Command {
	var list []s4t.Command
	for _, name := range []string{"echo", "lie", "long", "say", "wait"} {
		list = append(list, s4t.Command{Name: name, Source: s4t.CommandOfPlugin, Timeout: "30s"})
	}
	return list
}

func (p *fakePlugins) Call(ctx context.Context, c plugin.Call, output func(json.RawMessage)) (json.RawMessage, error) {
	p.mu.Lock()
	p.calls[c.ID]++
	p.mu.Unlock()
	switch c.Command {
	case "echo":
		return c.Params, nil
	case "lie":
		return json.RawMessage("{"), nil
	case "long":
		return json.RawMessage(`"` + strings.Repeat("<", s4t.MaxCommandResult/2) + `"`), nil
	case "say":
		for i := range 3 {
			output(json.RawMessage(fmt.Sprint(i)))
		}
		output(json.RawMessage(`"` + strings.Repeat("x", wire.MaxFeedLine) + `"`))
		return nil, nil
	}
	select {
	case err := <-p.goOn:
		return json.RawMessage("1"), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *fakePlugins) called(id s4t.OperationID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[string(id)]
}

func (p *fakePlugins) Logs(name string, after uint64, _ time.Time, limit int) (lines []s4t.LogLine, more bool, err error) {
	if name != "weather" {
		return nil, false, s4t.Errorf(s4t.NotFound, "", "", "no such plugin")
	}
	for i := range limit {
		lines = append(lines, s4t.LogLine{Seq: after + uint64(i) + 1, Text: strings.Repeat("x", wire.MaxFeedLine)})
	}
	return lines, false, nil
}

func (p *fakePlugins) Follow(_ string, _ uint64, fn func([]s4t.LogLine)) (cancel func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = fn
	return func() { p.mu.Lock(); p.log = nil; p.mu.Unlock() }, nil
}

func (p *fakePlugins) says(text string) bool {
	p.mu.Lock()
	fn := p.log
	p.mu.Unlock()
	if fn != nil {
		fn([]s4t.LogLine{{Seq: 7, Stream: "stdout", Text: text}})
	}
	return fn != nil
}

func (p *fakePlugins) States() map[string]plugin.State {
	return map[string]plugin.State{"id": {PluginState: s4t.PluginState{State: s4t.PluginRunning}}}
}

// runsOn makes what runs commands on a state directory, in one session after another.
func runsOn(t *testing.T, dir string, plugins *fakePlugins, of cloud) (c *boardCommands, stop func()) {
	t.Helper()
	c = newBoardCommands(stateDir(dir), boardA, time.Now, slog.New(slog.DiscardHandler))
	c.plugins = plugins
	never := make(chan struct{})
	c.online = func() (cloud, int64, <-chan struct{}) { return of, 1, never }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.run(ctx) }()
	synctest.Wait()
	return c, func() { cancel(); <-done }
}

func order(n int, command string) wire.Run {
	return wire.Run{
		ID: s4t.OperationID(fmt.Sprint("run-", n)), Key: fmt.Sprint("p:", n), Command: command, Project: "p",
		Params: json.RawMessage(`{"n":1}`), Before: time.Now().Add(time.Minute),
	}
}

func asked(t *testing.T, c *boardCommands, of cloud, ask wire.CodeAsk) (a wire.CodeAnswer, err error) {
	t.Helper()
	text, err := c.handler(of)(t.Context(), string(wire.Encode(ask)))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a, nil
}

// runs asks for a run and returns how it is.
func runs(t *testing.T, c *boardCommands, of cloud, run wire.Run, wait time.Duration) wire.RunState {
	t.Helper()
	a, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeRun, Run: &run, Wait: wait})
	if err != nil || len(a.Runs) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	return a.Runs[0]
}

func TestACommandRunsOnceAndIsHeardOf(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		for range 3 {
			if st := runs(t, c, of, order(1, "echo"), wire.RunWait); st.Status != s4t.OperationSucceeded || string(st.Result) != `{"n":1}` {
				t.Fatalf("%+v", st)
			}
		}
		if n := p.called("run-1"); n != 1 {
			t.Errorf("it ran %d times", n)
		}
		if len(of.heard()) != 0 {
			t.Error("it is reported at once, though it was answered")
		}
		time.Sleep(runReportDelay)
		synctest.Wait()
		if r := of.heard(); len(r) != 1 || len(r[0].Runs) != 1 || r[0].Runs[0].Status != s4t.OperationSucceeded || r[0].Runs[0].Result != nil || r[0].Full {
			t.Errorf("reported: %+v", r)
		}
		if s := c.status(); s.Running != 0 || s.Unheard != 0 {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

func TestResultsAreKeptUntilTheCloudHasThem(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		of.wants, of.refuse = true, errors.New("not now")
		c, stop := runsOn(t, dir, p, of)
		st := runs(t, c, of, order(1, "wait"), 0)
		if st.Status != s4t.OperationStarted {
			t.Fatalf("%+v", st)
		}
		stop() // and start again: what ran has failed, since it may have been done in part
		c, stop = runsOn(t, dir, p, of)
		defer stop()
		time.Sleep(2 * retryCall)
		synctest.Wait()
		r := of.heard()
		if len(r) != 2 || !r[1].Full || r[1].Runs[0].Status != s4t.OperationFailed || r[1].Runs[0].Error == "" {
			t.Errorf("reported: %+v", r)
		}
		if s := c.status(); s.Unheard != 0 {
			t.Errorf("%+v", s)
		}
		if st := runs(t, c, of, order(1, "wait"), 0); st.Status != s4t.OperationFailed || p.called("run-1") != 1 {
			t.Errorf("%+v, it ran %d times", st, p.called("run-1"))
		}
	})
}

func TestAKilledBoardRunsNothingAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop() // the first life goes on: that of a killed one would not
		runs(t, c, of, order(1, "wait"), 0)
		again, stop := runsOn(t, dir, p, of)
		defer stop()
		if st := runs(t, again, of, order(1, "wait"), 0); st.Status != s4t.OperationFailed || !strings.Contains(st.Error, "may have been done in part") {
			t.Errorf("%+v", st)
		}
		if p.called("run-1") != 1 {
			t.Error("it ran again")
		}
	})
}

func TestWaitingAndCancelling(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		for n := range maxRuns {
			if st := runs(t, c, of, order(n, "wait"), 0); st.Status != s4t.OperationStarted {
				t.Fatalf("%d: %+v", n, st)
			}
		}
		for n := maxRuns; n < maxRuns+maxWaiting; n++ {
			if st := runs(t, c, of, order(n, "wait"), 0); st.Status != s4t.OperationAccepted {
				t.Fatalf("%d: %+v", n, st)
			}
			synctest.Wait() // it stands in line before the next comes
		}
		one := order(1000, "echo")
		if _, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeRun, Run: &one}); s4t.KindOf(err) != s4t.TooMany {
			t.Fatal(err)
		}
		for _, n := range []int{0, maxRuns + 1} { // one that runs, whose slot the next has, and one that waits
			a, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeCancel, IDs: []s4t.OperationID{order(n, "").ID}, Wait: wire.RunWait})
			if err != nil || len(a.Runs) != 1 || a.Runs[0].Status != s4t.OperationCancelled || a.Runs[0].StartedAt.IsZero() != (n > 0) {
				t.Fatalf("%+v, %v", a, err)
			}
		}
		a, _ := asked(t, c, of, wire.CodeAsk{Do: wire.CodeCancel, IDs: []s4t.OperationID{"run-77777"}, Wait: wire.RunWait})
		if len(a.Unknown) != 1 {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if p.called(order(maxRuns, "").ID) != 1 || p.called(order(maxRuns+1, "").ID) != 0 {
			t.Error("the slot did not go to the next that waits")
		}
		time.Sleep(30 * time.Second) // their timeout: the next 64 begin
		synctest.Wait()
		if st := runs(t, c, of, order(1, ""), 0); st.Status != s4t.OperationFailed || st.ErrorKind != s4t.Timeout {
			t.Errorf("%+v", st)
		}
		time.Sleep(30 * time.Second) // those that have not begun by now never do
		synctest.Wait()
		last := order(maxRuns+maxWaiting-1, "")
		if st := runs(t, c, of, last, 0); st.Status != s4t.OperationExpired || p.called(last.ID) != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestRunsEndWhenTheBoardCloses: with the reason, and what waits does not begin in its place.
func TestRunsEndWhenTheBoardCloses(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		for n := range maxRuns + 1 {
			runs(t, c, of, order(n, "wait"), 0)
		}
		closed := window{state: windowClosed, changes: time.Now().Add(time.Hour)}
		c.admit = func() error { return closed.refused("run a command") }
		c.end(closed.refused(""))
		synctest.Wait()
		if st := runs(t, c, of, order(0, ""), 0); st.Status != s4t.OperationFailed || st.ErrorKind != s4t.Forbidden || !strings.Contains(st.Error, "it opens at") {
			t.Errorf("what ran: %+v", st)
		}
		if st := runs(t, c, of, order(maxRuns, ""), 0); st.Status != s4t.OperationExpired || p.called(order(maxRuns, "").ID) != 0 {
			t.Errorf("what waited: %+v", st)
		}
	})
}

func TestWhatIsTooLateNeverBegins(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		late := order(1, "echo")
		late.Before = time.Now()
		if st := runs(t, c, of, late, 0); st.Status != s4t.OperationExpired || p.called(late.ID) != 0 {
			t.Errorf("%+v", st)
		}
		a, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeState, IDs: []s4t.OperationID{"run-2"}})
		if err != nil || len(a.Unknown) != 1 {
			t.Fatalf("%+v, %v", a, err)
		}
		if st := runs(t, c, of, order(2, "echo"), wire.RunWait); st.Status != s4t.OperationExpired || p.called("run-2") != 0 {
			t.Errorf("it was told as never begun, and begins: %+v", st)
		}
	})
}

func TestHowRunsFail(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		none := order(1, "none")
		if _, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeRun, Run: &none}); s4t.KindOf(err) != s4t.NotFound {
			t.Error(err)
		}
		for n, name := range map[int]string{2: "lie", 3: "long"} {
			if st := runs(t, c, of, order(n, name), wire.RunWait); st.Status != s4t.OperationFailed || st.ErrorKind != s4t.Invalid || st.Result != nil {
				t.Errorf("%s: %+v", name, st)
			}
		}
		st := runs(t, c, of, order(4, "wait"), 0)
		if st.Status != s4t.OperationStarted {
			t.Fatalf("%+v", st)
		}
		p.goOn <- errors.New("exit status 3: no\nluck")
		if st := runs(t, c, of, order(4, "wait"), wire.RunWait); st.Status != s4t.OperationFailed || st.ErrorKind != "" || st.Error != "exit status 3: no luck" {
			t.Errorf("%+v", st)
		}
		c.admit = func() error { return s4t.Errorf(s4t.Forbidden, "", "", "the owner's hours") }
		five := order(5, "echo")
		if _, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeRun, Run: &five}); s4t.KindOf(err) != s4t.Forbidden {
			t.Error(err)
		}
	})
}

func TestWhatARunSaysIsSentInOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		run := order(1, "say")
		run.Feed = &wire.Feed{Topic: "api-feeds.x", ID: "feed"}
		if st := runs(t, c, of, run, wire.RunWait); st.Status != s4t.OperationSucceeded {
			t.Fatalf("%+v", st)
		}
		var text []string
		end := false
		for _, m := range of.taken() {
			if m.Feed.ID != "feed" || end {
				t.Errorf("%+v", m)
			}
			for _, l := range m.Lines {
				text = append(text, l.Stream+" "+l.Text)
			}
			end = m.End
		}
		if want := "output 0|output 1|output 2|agent an output of 2050 bytes is left out: at most 2048 are sent"; strings.Join(text, "|") != want || !end {
			t.Errorf("%q, end %v", text, end)
		}
	})
}

func TestAFeedThatIsNotTakenLosesLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := newHearingCloud()
		of.hold = make(chan struct{})
		c := newBoardCommands(stateDir(t.TempDir()), boardA, time.Now, slog.New(slog.DiscardHandler))
		defer c.close()
		c.ctx = t.Context()
		f := c.newFeed(of, wire.Feed{ID: "feed"})
		f.output(json.RawMessage("0"))
		synctest.Wait()
		for n := range 2 * maxUnsentLines {
			f.output(json.RawMessage(fmt.Sprint(n)))
		}
		close(of.hold)
		f.finish(time.Minute)
		lines := 0
		var last s4t.LogLine
		for _, m := range of.taken() {
			lines += len(m.Lines)
			last = m.Lines[len(m.Lines)-1]
		}
		if want := fmt.Sprintf("lost %d lines", maxUnsentLines); lines != maxUnsentLines+2 || last.Text != want || last.Stream != streamAgent {
			t.Errorf("%d lines, the last is %+v", lines, last)
		}
		c.running.Wait()
	})
}

func TestLogsAreFollowedForATerm(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		of, p := newHearingCloud(), newFakePlugins()
		c, stop := runsOn(t, dir, p, of)
		defer stop()
		a, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodeLogs, Plugin: "weather", Limit: 1000})
		if err != nil || len(a.Lines) == 0 || !a.More || len(wire.Encode(a)) > s4t.MaxMessage {
			t.Errorf("%d lines, more %v, %v", len(a.Lines), a.More, err)
		}
		if a, err := asked(t, c, of, wire.CodeAsk{Do: wire.CodePlugins}); err != nil || a.Plugins["id"].State != s4t.PluginRunning {
			t.Errorf("%+v, %v", a, err)
		}
		follow := wire.CodeAsk{Do: wire.CodeFollow, Plugin: "weather", Feed: &wire.Feed{ID: "feed"}, Term: wire.FeedTerm}
		for range 3 { // asked for again after a third of it
			if _, err := asked(t, c, of, follow); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wire.FeedTerm * 2 / 3)
		}
		if !p.says("hello") {
			t.Fatal("it is not followed any more")
		}
		synctest.Wait()
		if m := of.taken(); len(m) != 1 || m[0].Lines[0].Text != "hello" || m[0].Lines[0].Seq != 7 || m[0].End {
			t.Errorf("%+v", m)
		}
		time.Sleep(wire.FeedTerm)
		synctest.Wait()
		if p.says("nobody hears it") || len(c.follows) != 0 {
			t.Error("it is followed after its term")
		}
		if m := of.taken(); len(m) != 2 || !m[1].End {
			t.Errorf("%+v", m)
		}
	})
}
