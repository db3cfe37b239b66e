package conductor

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Upkeep is what nobody asks for: it ends what takes too long, and repeats what
// may have been lost. Of all conductors on a database one does it, the holder
// of a lease; its times are the database's.

const (
	upkeepLease  = "upkeep"
	leaseTime    = 4 * time.Second // after that another conductor takes over: within 5 s, as each looks every second
	renewLease   = 1500 * time.Millisecond
	wakeAgain    = 5 * time.Second // how long who lags may do so before it is woken again
	trimInterval = time.Minute     // how often the history of projects is cut to their shares
	batch        = 200             // boards or objects that one transaction changes: others have their turn in between
)

// upkept is what the upkeep of this process remembers. Nothing in it must be
// true: who takes over begins anew, with patience.
type upkept struct {
	mu sync.Mutex // held for a round; taken before any lock of the database

	holder string    // of the lease
	renew  time.Time // when the lease is to be renewed; zero: it is not held
	swept  time.Time // when the last round began
	grace  time.Time // until when no agent is taken for silent
	deaf   bool      // no agent at all was heard for a while

	lent    time.Time                 // when a lease begins or ends before the next round; zero: none does
	empty   map[s4t.AgentID]time.Time // since when WAMP agents that are drained have no boards
	woke    time.Time                 // when who lags was last woken
	trimmed time.Time                 // when old events were last forgotten
}

// keepUp looks at deadlines until ctx ends.
func (c *Conductor) keepUp(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	lent := time.NewTimer(upkeepInterval)
	defer lent.Stop()
	for {
		c.upkeep(ctx)
		lent.Reset(c.untilLent())
		select {
		case <-ctx.Done():
			c.giveUpkeep(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		case <-lent.C: // a lease begins or ends between two ticks
			c.turnLeases(ctx)
		}
	}
}

// giveUpkeep lets another conductor take over at once.
func (c *Conductor) giveUpkeep(ctx context.Context) {
	if c.upkept.renew.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, upkeepInterval)
	defer cancel()
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.GiveLease(upkeepLease, c.upkept.holder) })
	if err != nil {
		c.cfg.Log.Info("the lease on upkeep runs out by itself", "err", err)
	}
}

// leads reports whether this conductor does the upkeep now, and takes or renews
// the lease where that is due.
func (c *Conductor) leads(ctx context.Context, now time.Time) (bool, error) {
	u := &c.upkept
	if !u.renew.IsZero() && now.Before(u.renew) && u.renew.Sub(now) <= renewLease {
		return true, nil
	}
	free, err := view(ctx, c, func(tx *store.Tx) (bool, error) {
		holder, until, err := tx.LeaseHolder(upkeepLease)
		return holder == "" || holder == u.holder || until.Before(now), err
	})
	if err != nil || !free {
		u.renew = time.Time{}
		return false, err
	}
	var held bool
	err = c.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		held, err = tx.TakeLease(upkeepLease, u.holder, leaseTime)
		return err
	})
	if err != nil || !held {
		u.renew = time.Time{}
		return false, err
	}
	u.renew = now.Add(renewLease)
	return true, nil
}

// upkeep is one round: silent agents, operations that take too long, wake-ups
// that were lost, what runs out.
func (c *Conductor) upkeep(ctx context.Context) {
	c.upkept.mu.Lock()
	defer c.upkept.mu.Unlock()
	began := time.Now()
	now, err := view(ctx, c, func(tx *store.Tx) (time.Time, error) { return tx.Now(), nil })
	led := !c.upkept.renew.IsZero()
	var leads bool
	if err == nil {
		leads, err = c.leads(ctx, now)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("upkeep goes on later", "what", "hold the lease on it", "err", err)
	}
	if err != nil || !leads {
		return
	}
	u := &c.upkept
	// Where this process stood still (SIGSTOP, a suspended machine), where the
	// clock jumped, and at the start, agents get the time to be heard, and
	// operations their time again.
	step := now.Sub(u.swept)
	jumped := !led || step < 0 || step >= agentTimeout/2
	if jumped {
		u.grace = now.Add(agentTimeout)
		if step < 0 {
			u.woke, u.trimmed = now, now
		}
	}
	u.swept = now
	woke := now.Sub(u.woke) >= wakeAgain
	if woke {
		u.woke = now
	}
	trim := now.Sub(u.trimmed) >= trimInterval
	if trim {
		u.trimmed = now
	}
	for _, r := range []struct {
		what string
		due  bool
		do   func(context.Context) error
	}{
		{"give operations their time again", jumped, c.extend},
		{"look for silent agents", !now.Before(u.grace), c.expireAgents},
		{"move what agents have to others", true, c.moveAway},
		{"write off lost sessions", true, c.writeOff},
		{"look at operations", true, c.deadlines},
		{"settle commands whose time is over", true, c.settleDue},
		{"begin and end leases", true, c.leasesDue},
		{"give pins back", true, c.pinsDue},
		{"wake who lags", woke, c.wakeLagging},
		{"send queued commands", woke, c.settleQueued},
		{"roll out plugins", true, c.rolloutsDue},
		{"revert what ran out", woke, c.revert},
		{"tell of events", true, c.tellEvents},
		{"forget old events", trim, c.trim},
		{"forget old outages", trim, c.trimOutages},
		{"forget old recordings", trim, c.forgetRecordings},
		{"forget old leases", trim, c.forgetLeases},
		{"forget fleet tokens", trim, c.forgetFleetTokens},
		{"forget old rollouts", trim, c.forgetRollouts},
		{"forget bundles that nobody uses", trim, c.forgetBundles},
		{"forget processes that are gone", trim, c.forgetProcesses},
	} {
		if !r.due || ctx.Err() != nil {
			continue
		}
		if leads, err := c.leads(ctx, now.Add(time.Since(began))); err != nil || !leads { // a round may take long
			return
		}
		if err := r.do(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("upkeep goes on later", "what", r.what, "err", err)
		}
	}
}

// extend gives running operations their time again.
func (c *Conductor) extend(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.ExtendRuns(beginWithin + settleAfter); err != nil {
			return err
		}
		running, err := tx.OverdueOperations(true)
		if err != nil || len(running) == 0 {
			return err
		}
		return tx.ExtendOperations(operationTimeout)
	})
}

// deadlines fails the operations that take too long, with who did not answer.
func (c *Conductor) deadlines(ctx context.Context) error {
	ids, err := view(ctx, c, func(tx *store.Tx) ([]s4t.OperationID, error) { return tx.OverdueOperations(false) })
	for _, id := range ids {
		if err = c.change(ctx, func(ch *change) error { return ch.assessOne(id, true) }); err != nil {
			break
		}
	}
	return err
}

// tellEvents tells of events again: the conductor that wrote them may have
// ended before it did.
func (c *Conductor) tellEvents(ctx context.Context) error {
	last, err := view(ctx, c, func(tx *store.Tx) (int64, error) { return tx.LastEvent() })
	c.news.publish(last)
	return err
}

// wakeLagging wakes again who has not applied its desired state: the first
// wake-up may have been lost, with a process for example.
func (c *Conductor) wakeLagging(ctx context.Context) error {
	ch := &change{c: c}
	_, err := view(ctx, c, func(tx *store.Tx) (struct{}, error) {
		for last := s4t.BoardID(""); ; {
			boards, err := tx.LaggingBoards(last, batch)
			if err != nil {
				return struct{}{}, err
			}
			for _, b := range boards {
				ch.wakeBoard(b)
				last = b.Board
			}
			if len(boards) < batch {
				break
			}
		}
		agents, err := tx.Agents()
		for _, a := range agents {
			if a.Kind == wire.AgentTunnel && a.Online && a.Applied < a.Generation {
				ch.wakeAgent(a)
			}
		}
		return struct{}{}, err
	})
	if err == nil {
		ch.committed(ctx)
	}
	return err
}

// revert ends what was wanted for a while: idle data rtunnels after the last
// stream, the notice of a clone.
func (c *Conductor) revert(ctx context.Context) error {
	now := c.now()
	due, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.ExpiringBoards(now, now.Add(-cloneNotice)) })
	for _, id := range due {
		err := c.change(ctx, func(ch *change) error {
			b, err := ch.LockBoard(id)
			if err != nil {
				return err
			}
			if !b.StreamsUntil.After(now) {
				b.StreamsUntil = time.Time{}
				if err := ch.SetBoardStreams(b); err != nil {
					return err
				}
				if err := ch.wantStreams(b); err != nil {
					return err
				}
			}
			if !b.ClonedAt.IsZero() && !b.ClonedAt.After(now.Add(-cloneNotice)) {
				b.ClonedAt = time.Time{}
				ch.renew(boardOf(id)) // its notice goes
				return ch.SetBoardCloned(b)
			}
			return nil
		})
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
	}
	return err
}
