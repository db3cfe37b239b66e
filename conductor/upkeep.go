package conductor

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// wakeAgain is how long a board or tunnel agent may lag behind its desired
// state before it is woken again.
const wakeAgain = 5 * time.Second

// resume takes over the operations that were running when another conductor
// ended, by whatever way. They go on from the rows.
func (c *Conductor) resume(ctx context.Context) error {
	type taken struct {
		op     store.Operation
		online []s4t.BoardID
		awaits awaits
	}
	all, err := view(ctx, c, func(tx *store.Tx) ([]taken, error) {
		ops, err := tx.RunningOperations()
		if err != nil {
			return nil, err
		}
		var all []taken
		for _, op := range ops {
			t := taken{op: op}
			if err := json.Unmarshal([]byte(op.Awaits), &t.awaits); err != nil {
				return nil, s4t.Errorf(s4t.Internal, "take over an operation", "", "%s: %w", op.ID, err)
			}
			for id := range t.awaits.Boards {
				b, err := tx.BoardState(id)
				if err == nil && b.Online {
					t.online = append(t.online, id)
				} else if err != nil && s4t.KindOf(err) != s4t.NotFound {
					return nil, err
				}
			}
			all = append(all, t)
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range all {
		p := newProgress(t.op, t.awaits)
		if now := c.now(); p.since.After(now) { // the clock jumped back meanwhile
			p.since = now
		}
		for _, b := range t.online {
			p.online[b] = true
		}
		p.see(stepReserve, c.now())
		p.see(stepWake, c.now())
		c.running[t.op.ID] = p
	}
	return nil
}

// keepUp looks at deadlines until ctx ends.
func (c *Conductor) keepUp(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		c.upkeep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// upkeep is one round: silent agents, operations that take too long, wake-ups
// that were lost, what runs out.
func (c *Conductor) upkeep(ctx context.Context) {
	now := c.now()
	c.mu.Lock()
	// Where this process stood still (SIGSTOP, a suspended machine), where the
	// clock jumped, and at the start, agents get the time to be heard, and
	// operations their time again.
	if step := now.Sub(c.swept); step < 0 || step >= agentTimeout/2 {
		c.grace = now.Add(agentTimeout)
		if step < 0 {
			c.woke, c.trimmed = now, now
		}
		for _, p := range c.running {
			p.since = now
		}
	}
	c.swept = now
	graceful := now.Before(c.grace)
	woke := now.Sub(c.woke) >= wakeAgain
	if woke {
		c.woke = now
	}
	trim := now.Sub(c.trimmed) >= time.Hour
	if trim {
		c.trimmed = now
	}
	c.mu.Unlock()
	round := []struct {
		what string
		due  bool
		do   func(context.Context) error
	}{
		{"look for silent agents", !graceful, c.silence},
		{"look at operations", true, c.deadlines},
		{"wake who lags", woke, c.wakeLagging},
		{"revert what ran out", woke, c.revert},
		{"forget old events", trim, c.trim},
	}
	for _, r := range round {
		if !r.due || ctx.Err() != nil {
			continue
		}
		if err := r.do(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("upkeep goes on later", "what", r.what, "err", err)
		}
	}
}

// deadlines looks at every running operation, and fails those that take too
// long.
func (c *Conductor) deadlines(ctx context.Context) error {
	now := c.now()
	c.mu.Lock()
	var all []*progress
	for _, p := range c.running {
		all = append(all, p.copy())
	}
	c.mu.Unlock()
	for _, p := range all {
		c.reconsider(ctx, p.op.ID)
		if now.Sub(p.since) < operationTimeout {
			continue
		}
		if _, more := c.operationNow(p.op.ID); more == nil {
			continue // it has just ended
		}
		if err := c.change(ctx, func(ch *change) error { return ch.expire(p) }); err != nil {
			return err
		}
	}
	return nil
}

// wakeLagging wakes again who has not applied its desired state: the first
// wake-up may have been lost, with a process for example.
func (c *Conductor) wakeLagging(ctx context.Context) error {
	type lagging struct {
		boards []store.Board
		agents []store.Agent
	}
	l, err := view(ctx, c, func(tx *store.Tx) (l lagging, err error) {
		if l.boards, err = tx.LaggingBoards(); err != nil {
			return l, err
		}
		l.agents, err = tx.Agents(wire.AgentTunnel)
		return l, err
	})
	if err != nil {
		return err
	}
	ch := &change{c: c}
	for _, b := range l.boards {
		ch.wakeBoard(b)
	}
	for _, a := range l.agents {
		if a.Online && a.Applied < a.Generation {
			ch.wakeAgent(a.ID, a.Generation)
		}
	}
	ch.committed(ctx)
	return nil
}

// revert ends what was wanted for a while: idle data rtunnels after the last
// stream, the notice of a clone.
func (c *Conductor) revert(ctx context.Context) error {
	now := c.now()
	due, err := view(ctx, c, func(tx *store.Tx) ([]store.Board, error) { return tx.ExpiringBoards(now, now.Add(-cloneNotice)) })
	if err != nil || len(due) == 0 {
		return err
	}
	return c.change(ctx, func(ch *change) error {
		due, err := ch.ExpiringBoards(now, now.Add(-cloneNotice))
		if err != nil {
			return err
		}
		for _, b := range due {
			if !b.StreamsUntil.After(now) {
				b.StreamsUntil = time.Time{}
			}
			if !b.ClonedAt.After(now.Add(-cloneNotice)) {
				b.ClonedAt = time.Time{}
			}
			if err := ch.UpdateBoard(b); err != nil {
				return err
			}
			ch.touchBoard(b.ID)
		}
		return nil
	})
}

// trim forgets the oldest events and operations.
func (c *Conductor) trim(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.TrimEvents(keepEvents); err != nil {
			return err
		}
		return tx.TrimOperations(keepOperations)
	})
}
