package lightningrod

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/plugin/journal"
	"github.com/stack4things/s4t/plugin/ownercommand"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Bounds of commands on one board.
const (
	maxRuns     = 64  // that run at a time
	maxWaiting  = 256 // that wait for their turn
	maxRunWaits = 12  // questions of the cloud that wait for the end of a run; more are answered at once. A session serves 64 questions
	maxAskIDs   = 500 // runs that are asked for at once
)

// pluginCommands is what commands need of [plugin.Manager].
type pluginCommands interface {
	Commands() []s4t.Command
	Call(ctx context.Context, c plugin.Call, output func(json.RawMessage)) (json.RawMessage, error)
	Logs(name string, after uint64, since time.Time, limit int) (lines []s4t.LogLine, more bool, err error)
	Follow(name string, after uint64, fn func([]s4t.LogLine)) (cancel func(), err error)
	States() map[string]plugin.State
}

// ownerCommands is what commands need of [ownercommand.Commands].
type ownerCommands interface {
	Run(ctx context.Context) error
	Commands() []s4t.Command
	Problems() []string
	Changed() <-chan struct{}
	Call(ctx context.Context, name string, params json.RawMessage, output func(json.RawMessage)) (json.RawMessage, error)
}

// boardCommands runs what the cloud asks for: each run once, and its end is told until
// the cloud has heard of it.
type boardCommands struct {
	board   s4t.BoardID
	journal *journal.Journal
	plugins pluginCommands
	owner   ownerCommands
	clock   func() time.Time // the cloud's
	online  func() (c cloud, epoch int64, changed <-chan struct{})
	log     *slog.Logger

	// Whoever sets these does so before run.
	admit   func() error                                                                                                            // an error: no command begins now, by the owner's word
	may     func(ctx context.Context, op string, project s4t.ProjectID, id s4t.LeaseID, a lease.Action) (by s4t.LeaseID, err error) // see leases
	count   func(project s4t.ProjectID)                                                                                             // a run begins
	changed func()                                                                                                                  // the owner's commands, or problems, are others

	slots chan struct{} // one for each that runs
	waits chan struct{}
	ended chan struct{} // cap 1: a run has ended

	mu      sync.Mutex      // guards what follows; taken before the journal's
	ctx     context.Context // of run; nil: it does not run
	live    map[s4t.OperationID]*liveRun
	waiting int // of live, for a slot
	follows map[string]*follow
	running sync.WaitGroup // Add under mu, while ctx is there
}

// liveRun is a run that has not ended.
type liveRun struct {
	run    wire.Run
	by     s4t.LeaseID // by which it began; empty: the board is the project's
	ctx    context.Context
	cancel context.CancelCauseFunc
	feed   *feed
	begun  chan struct{} // closed when it is in the journal, or will not be
	done   chan struct{} // closed when end is set
	end    wire.RunState
}

// openCommands makes what runs commands, of plugins and of the owner. Nothing of it runs
// yet. Guests are opened.
func (e *Engine) openCommands() {
	g := e.guests
	c := newBoardCommands(e.dir, e.id.Board, e.clock.now, e.cfg.Log)
	c.online, c.plugins, c.changed = e.online, g.manager, func() { g.mark(); e.markDirty() }
	if g.cfg.Commands != "" {
		c.owner = ownercommand.New(ownercommand.Config{Dir: g.cfg.Commands, Start: g.sandbox.Start, Log: e.cfg.Log})
	}
	g.owned, g.runs = c.owned, c
}

// newBoardCommands makes what runs commands, of nobody yet. The lock of the state is held.
func newBoardCommands(dir stateDir, board s4t.BoardID, clock func() time.Time, log *slog.Logger) *boardCommands {
	return &boardCommands{
		board: board, clock: clock, log: log,
		journal: journal.Open(journal.Config{Path: dir.path(runsFile), Now: clock, Log: log}),
		admit:   func() error { return nil },
		may: func(context.Context, string, s4t.ProjectID, s4t.LeaseID, lease.Action) (s4t.LeaseID, error) {
			return "", nil
		},
		count: func(s4t.ProjectID) {}, changed: func() {},
		slots: make(chan struct{}, maxRuns), waits: make(chan struct{}, maxRunWaits), ended: make(chan struct{}, 1),
		live: map[s4t.OperationID]*liveRun{}, follows: map[string]*follow{},
	}
}

// run works until ctx ends: commands that run then are ended, and the journal is
// closed.
func (c *boardCommands) run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	var beside sync.WaitGroup
	if c.owner != nil {
		beside.Go(func() { c.owner.Run(ctx) })
		beside.Go(func() { c.watchOwner(ctx) })
	}
	c.sessions(ctx)
	beside.Wait()
	c.mu.Lock()
	c.ctx = nil
	c.mu.Unlock()
	c.running.Wait()
	c.close()
}

func (c *boardCommands) close() {
	if err := c.journal.Close(); err != nil {
		c.log.Warn("close the journal of commands", "err", err)
	}
}

// sessions tells each session's cloud what became of runs.
func (c *boardCommands) sessions(ctx context.Context) {
	for ctx.Err() == nil {
		of, epoch, changed := c.online()
		if of != nil {
			c.report(ctx, of, epoch)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// watchOwner tells when the owner's commands are others.
func (c *boardCommands) watchOwner(ctx context.Context) {
	for {
		changed := c.owner.Changed()
		c.changed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// owned are the commands of the board's owner.
func (c *boardCommands) owned() []s4t.Command {
	if c.owner == nil {
		return nil
	}
	return c.owner.Commands()
}

// find finds a command: the owner's first.
func (c *boardCommands) find(name string) (found s4t.Command, err error) {
	for _, cmd := range c.owned() {
		if cmd.Name == name {
			return cmd, nil
		}
	}
	if c.plugins != nil {
		for _, cmd := range c.plugins.Commands() {
			if cmd.Name == name {
				return cmd, nil
			}
		}
	}
	return found, s4t.Errorf(s4t.NotFound, "run "+s4t.Line(name, s4t.MaxName), "`s4t command list BOARD` shows those that are there", "the board has no such command now")
}

// handler answers what one session asks.
func (c *boardCommands) handler(of cloud) wamp.Handler {
	return func(ctx context.Context, question string) (string, error) {
		var ask wire.CodeAsk
		if err := json.Unmarshal([]byte(question), &ask); err != nil {
			return "", s4t.Errorf(s4t.Invalid, "ask for code", "", "the question is not understood: %w", err)
		}
		a, err := c.do(ctx, of, ask)
		if err != nil {
			return "", err
		}
		return string(wire.Encode(a)), nil
	}
}

// do carries out one question or order of the cloud.
func (c *boardCommands) do(ctx context.Context, of cloud, ask wire.CodeAsk) (a wire.CodeAnswer, err error) {
	const op = "ask for code"
	switch ask.Do {
	case wire.CodeRun:
		if ask.Run == nil {
			return a, s4t.Errorf(s4t.Invalid, op, "", "no run is named")
		}
		by, err := c.allowed(ctx, *ask.Run)
		if err != nil {
			return a, err
		}
		live, st, err := c.begin(of, *ask.Run, by)
		if err != nil {
			return a, err
		}
		return wire.CodeAnswer{Runs: []wire.RunState{c.await(ctx, live, st, ask.Wait)}}, nil
	case wire.CodeCancel:
		if len(ask.IDs) != 1 {
			return a, s4t.Errorf(s4t.Invalid, op, "", "%d runs are named", len(ask.IDs))
		}
		return c.cancel(ctx, ask.IDs[0], ask.Wait), nil
	case wire.CodeState:
		if len(ask.IDs) > maxAskIDs {
			return a, s4t.Errorf(s4t.TooMany, op, "ask for fewer", "%d runs are named, at most %d can be", len(ask.IDs), maxAskIDs)
		}
		return c.states(ask.IDs), nil
	}
	if c.plugins == nil {
		return a, s4t.Errorf(s4t.NotFound, op, "", "the board runs no plugins")
	}
	switch ask.Do {
	case wire.CodePlugins:
		a.Plugins = map[string]s4t.PluginState{}
		for id, st := range c.plugins.States() {
			a.Plugins[id] = st.PluginState
		}
		return a, nil
	case wire.CodeLogs:
		limit := ask.Limit
		if limit < 1 || limit > maxLogLines {
			limit = maxLogLines
		}
		a.Lines, a.More, err = c.plugins.Logs(ask.Plugin, ask.After, ask.Since, limit)
		if n := fitting(a.Lines); n < len(a.Lines) {
			a.Lines, a.More = a.Lines[:n], true
		}
		return a, err
	case wire.CodeFollow:
		return a, c.follow(of, ask)
	}
	return a, s4t.Errorf(s4t.Invalid, op, "lightning-rod may be older than the cloud: update it", "the board cannot %q", s4t.Line(ask.Do, s4t.MaxName))
}

// states says how runs are. Those whose results do not fit are left out: the board
// reports them.
func (c *boardCommands) states(ids []s4t.OperationID) (a wire.CodeAnswer) {
	left := s4t.MaxMessage / 2
	for _, id := range ids {
		known, unknown := c.journal.States([]s4t.OperationID{id})
		a.Unknown = append(a.Unknown, unknown...)
		for _, st := range known {
			if left -= len(wire.Encode(st)); left >= 0 {
				a.Runs = append(a.Runs, st)
			}
		}
	}
	return a
}

// cancel ends a run, or makes sure that it does not begin.
func (c *boardCommands) cancel(ctx context.Context, id s4t.OperationID, wait time.Duration) wire.CodeAnswer {
	c.mu.Lock()
	live := c.live[id]
	c.mu.Unlock()
	if live == nil {
		return c.states([]s4t.OperationID{id})
	}
	live.cancel(errCancelled)
	<-live.begun
	st, _ := c.journal.Find(id, "")
	return wire.CodeAnswer{Runs: []wire.RunState{c.await(ctx, live, st, wait)}}
}

// await waits a while for the end of a run that is live, and says how it is then; of
// one that is not it says st.
func (c *boardCommands) await(ctx context.Context, live *liveRun, st wire.RunState, wait time.Duration) wire.RunState {
	if live == nil {
		return st
	}
	select {
	case c.waits <- struct{}{}:
		defer func() { <-c.waits }()
	default:
		wait = 0
	}
	timer := time.NewTimer(min(max(wait, 0), wire.RunWait))
	defer timer.Stop()
	select {
	case <-live.done:
		return live.end
	default:
	}
	select {
	case <-live.done:
		return live.end
	case <-timer.C:
	case <-ctx.Done():
	}
	if now, known := c.journal.Find(live.run.ID, ""); known {
		return now
	}
	return st
}

// status says how many runs there are, for people.
func (c *boardCommands) status() *RunsStatus {
	open, unheard := c.journal.Count()
	return &RunsStatus{Running: open, Unheard: unheard}
}

// problems lists what stands in the way of commands.
func (c *boardCommands) problems() []string {
	var list []string
	if p := c.journal.Problem(); p != "" {
		list = append(list, p)
	}
	if c.owner != nil {
		list = append(list, c.owner.Problems()...)
	}
	return list
}

// DefaultCommands is where the owner's commands are.
const DefaultCommands = "/etc/lightning-rod/commands.d"
