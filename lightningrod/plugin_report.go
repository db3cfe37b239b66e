package lightningrod

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// What a board says by itself of the code that it can run.

const (
	codeReportDelay = time.Second     // how long a report waits for what else changes
	codeReportEvery = 5 * time.Minute // it is told again then: usage changes all the time
	maxCodeReport   = s4t.MaxMessage * 3 / 4
)

// sessions tells each session's cloud, until ctx ends.
func (g *guests) sessions(ctx context.Context) {
	for ctx.Err() == nil {
		c, epoch, changed := g.online()
		if c != nil {
			g.tell(ctx, c, epoch)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// tell tells one session's cloud: at its begin, when something changed, and every five
// minutes. It returns when the session ends, or where the cloud is too old to know code.
func (g *guests) tell(ctx context.Context, c cloud, epoch int64) {
	every := time.NewTicker(codeReportEvery)
	defer every.Stop()
	for due := true; ; {
		changed := g.changed()
		err := g.telling.send(ctx, g, c, epoch, due)
		switch {
		case err == nil:
			due = false
		case wamp.ReasonOf(err) == wamp.NoSuchProcedure:
			return // an older cloud
		default:
			wait := max(retryAfter(err), retryCall)
			if ctx.Err() == nil {
				g.log.Warn("report commands to the cloud", "err", err, "retry_in", wait)
			}
			if due = true; !pause(ctx, c, wait) {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
			return
		case <-every.C:
			due = true
		case <-changed:
			if !pause(ctx, c, codeReportDelay) {
				return
			}
		}
	}
}

// codeTelling is what a session's cloud was told of code.
type codeTelling struct {
	mu      sync.Mutex // guards the fields below, and is held while the cloud is told: one report at a time
	of      cloud      // the session
	told    []byte     // the last report that arrived, without what changes by itself; nil: none
	plugins []byte     // the commands of plugins in it
}

// send tells it, where it is due or another than was told.
func (t *codeTelling) send(ctx context.Context, g *guests, c cloud, epoch int64, due bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.session(c)
	return t.tell(ctx, g, epoch, due)
}

// before tells it before the cloud is told that plugins are up, or gone: whoever waited for that
// finds their commands, or does not. It costs nothing where those are as they were. An error is
// not returned: what does not arrive now is told by [guests.tell].
func (t *codeTelling) before(ctx context.Context, g *guests, c cloud, epoch int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.session(c)
	if !bytes.Equal(encodeCommands(g.manager.Commands()), t.plugins) {
		if err := t.tell(ctx, g, epoch, false); err != nil {
			g.log.Debug("report commands to the cloud", "err", err)
		}
	}
}

// session forgets what another session's cloud was told. The caller has mu.
func (t *codeTelling) session(c cloud) {
	if t.of != c {
		t.of, t.told, t.plugins = c, nil, nil
	}
}

// tell sends a report. The caller has mu.
func (t *codeTelling) tell(ctx context.Context, g *guests, epoch int64, due bool) error {
	plugins := g.manager.Commands()
	report := g.report(plugins)
	report.Board, report.Epoch = g.board, epoch
	now := lasting(report)
	if !due && bytes.Equal(now, t.told) {
		return nil
	}
	if err := t.of.Call(ctx, wamp.Code, report, nil); err != nil {
		return err
	}
	t.told, t.plugins = now, encodeCommands(plugins)
	return nil
}

// encodeCommands is nil where there are none.
func encodeCommands(list []s4t.Command) []byte {
	if len(list) == 0 {
		return nil
	}
	return wire.Encode(list)
}

// lasting is a report without what changes by itself.
func lasting(r wire.CodeReport) []byte {
	r.Profile.Usage = nil
	return wire.Encode(r)
}

// report is what the cloud is told now, within a message; plugins are the commands of them.
func (g *guests) report(plugins []s4t.Command) wire.CodeReport {
	r := wire.CodeReport{Runtimes: g.manager.Runtimes(), Commands: g.with(plugins), Profile: g.profile()}
	size := 0
	for i, c := range r.Commands {
		if size += len(wire.Encode(c)); size > maxCodeReport || i == s4t.MaxCommands {
			g.log.Warn("the cloud is not told of all commands", "told", i, "commands", len(r.Commands))
			r.Commands = r.Commands[:i]
			break
		}
	}
	return r
}

// commands are those of the board's owner and of plugins that run, by name. Where two
// have one name the owner's is it.
func (g *guests) commands() []s4t.Command { return g.with(g.manager.Commands()) }

// with adds those of the board's owner to those of plugins.
func (g *guests) with(plugins []s4t.Command) []s4t.Command {
	all := append(g.owned(), plugins...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	all = slices.CompactFunc(all, func(a, b s4t.Command) bool { return a.Name == b.Name })
	if all == nil {
		all = []s4t.Command{}
	}
	return all
}
