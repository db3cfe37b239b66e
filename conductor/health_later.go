package conductor

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Of many boards how they are is written together, some seconds later: each says so
// every minute, and a transaction for each would be most of what a cloud at rest
// does. What waits here is lost with the process; the next report is a minute away.

const (
	healthFleet    = 1000             // of fewer boards each report is written at once
	healthDelay    = 15 * time.Second // how long one waits at most
	healthTogether = 2048             // reports that one transaction writes
	maxHealths     = 32768            // that wait: one a board; more are written at once
)

// laterHealths are the reports that wait: the last of each board.
type laterHealths struct {
	some chan struct{} // room for one: there are some

	mu  sync.Mutex // guards the field below
	all map[s4t.BoardID]wire.HealthReport
}

func newLaterHealths() *laterHealths {
	return &laterHealths{some: make(chan struct{}, 1), all: map[s4t.BoardID]wire.HealthReport{}}
}

// put takes a report, and reports whether there was room.
func (l *laterHealths) put(r wire.HealthReport) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, there := l.all[r.Board]
	if !there && len(l.all) >= maxHealths {
		return false
	}
	if !there || was.Epoch <= r.Epoch {
		l.all[r.Board] = r
	}
	select {
	case l.some <- struct{}{}:
	default:
	}
	return true
}

// take returns so many of them at most.
func (l *laterHealths) take(most int) (some []wire.HealthReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range l.all {
		if len(some) == most {
			break
		}
		some = append(some, r)
		delete(l.all, id)
	}
	return some
}

// healthWait is how long reports wait: 0 where each is written at once.
func (c *Conductor) healthWait() time.Duration {
	n := c.fleet.last()
	if n < healthFleet {
		return 0
	}
	return min(time.Duration(n)*time.Millisecond, healthDelay)
}

// writeHealths writes the reports that wait, until ctx ends. One of a session that is over
// is dropped.
func (c *Conductor) writeHealths(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.later.some:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.healthWait()):
		}
		for some := c.later.take(healthTogether); len(some) > 0; some = c.later.take(healthTogether) {
			c.writeSome(ctx, some)
		}
	}
}

func (c *Conductor) writeSome(ctx context.Context, some []wire.HealthReport) {
	all, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	for _, o := range c.takeHealths(all, some) {
		if kind := s4t.KindOf(o.err); o.err != nil && kind != s4t.Conflict && kind != s4t.NotFound && ctx.Err() == nil {
			c.cfg.Log.Info("how some boards are was not written; they say it again", "err", o.err)
			return
		}
	}
}
