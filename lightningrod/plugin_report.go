package lightningrod

import (
	"bytes"
	"context"
	"slices"
	"strings"
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
	var told []byte
	for due := true; ; {
		changed := g.changed()
		report := g.report()
		report.Board, report.Epoch = g.board, epoch
		if now := lasting(report); due || !bytes.Equal(now, told) {
			err := c.Call(ctx, wamp.Code, report, nil)
			switch {
			case err == nil:
				told, due = now, false
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

// lasting is a report without what changes by itself.
func lasting(r wire.CodeReport) []byte {
	r.Profile.Usage = nil
	return wire.Encode(r)
}

// report is what the cloud is told now, within a message.
func (g *guests) report() wire.CodeReport {
	r := wire.CodeReport{Runtimes: g.manager.Runtimes(), Commands: g.commands(), Profile: g.profile()}
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
func (g *guests) commands() []s4t.Command {
	all := append(g.owned(), g.manager.Commands()...)
	slices.SortStableFunc(all, func(a, b s4t.Command) int { return strings.Compare(a.Name, b.Name) })
	all = slices.CompactFunc(all, func(a, b s4t.Command) bool { return a.Name == b.Name })
	if all == nil {
		all = []s4t.Command{}
	}
	return all
}
