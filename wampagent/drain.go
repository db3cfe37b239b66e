package wampagent

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// A drained agent tells its boards to move, so many a second that those which take
// them are not overrun. A board ends its session here when it has another; one that
// did not go is told again.

const (
	moveRate  = 500              // boards that are told a second
	moveAgain = 30 * time.Second // after that a session that is still here is told again
)

// leased is told what the conductor answered to a beat.
func (a *Agent) leased(lease wire.AgentLease) {
	select { // an older word that nobody heeded yet
	case <-a.leaving:
	default:
	}
	if len(lease.Elsewhere) > 0 {
		a.leaving <- lease.Elsewhere
	}
}

// empty tells boards to move, as long as the conductor says that they should.
func (a *Agent) empty(ctx context.Context) {
	pace := rate.NewLimiter(moveRate, 1)
	told := sessionsTold{}
	for {
		var to []wire.Elsewhere
		select {
		case <-ctx.Done():
			return
		case to = <-a.leaving:
		}
		var due []session
		due, told = told.due(a.sessions.begun(), time.Now())
		for _, s := range due {
			if pace.Wait(ctx) != nil {
				return
			}
			told[s.ID] = time.Now()
			move := string(wire.Encode(wire.BoardMove{URL: oneOf(to)}))
			if err := a.router.Publish(ctx, wamp.BoardURI(s.Board, wamp.Move), move); err != nil && ctx.Err() == nil {
				a.cfg.Log.Info("a board was not told to move; it is told again", "board", s.Board, "err", err)
			}
		}
	}
}

// sessionsTold is when a session, by its number, was told to go elsewhere. It is the
// session's, not the board's: one that went, and was sent back by a conductor that did not
// know yet, is told again with the next beat.
type sessionsTold map[uint64]time.Time

// due are the sessions that are to be told now; of those that are gone nothing is kept.
func (told sessionsTold) due(here []session, now time.Time) (due []session, kept sessionsTold) {
	kept = make(sessionsTold, len(here))
	for _, s := range here {
		if at, ok := told[s.ID]; ok && now.Sub(at) < moveAgain {
			kept[s.ID] = at
			continue
		}
		due = append(due, s)
	}
	return due, kept
}

// oneOf chooses one by the weights.
func oneOf(to []wire.Elsewhere) string {
	all := 0
	for _, e := range to {
		all += max(e.Weight, 1)
	}
	n := rand.IntN(all)
	for _, e := range to {
		if n -= max(e.Weight, 1); n < 0 {
			return e.URL
		}
	}
	return to[0].URL
}
