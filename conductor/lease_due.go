package conductor

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// Leases begin and end by the clock of the database, at whoever does the upkeep: with each of its
// rounds, and between two of them when one is due. What a project may do on a board does not wait for
// that, see reach.go; what was made there goes.

// kindLeaseEnd is the operation that takes back what a lease made.
const kindLeaseEnd = "lease.end"

// byDatabase makes the time of a change that of the database, by which leases are.
func (ch *change) byDatabase() { ch.now = ch.Now().UTC() }

// untilLent is how long to wait for the next lease that begins or ends before the next round.
func (c *Conductor) untilLent() time.Duration {
	c.upkept.mu.Lock()
	defer c.upkept.mu.Unlock()
	if c.upkept.lent.IsZero() || c.upkept.renew.IsZero() {
		return time.Hour // the next round comes before
	}
	return time.Until(c.upkept.lent)
}

// turnLeases begins and ends leases between two rounds, where this conductor does the upkeep.
func (c *Conductor) turnLeases(ctx context.Context) {
	c.upkept.mu.Lock()
	defer c.upkept.mu.Unlock()
	now, err := view(ctx, c, func(tx *store.Tx) (time.Time, error) { return tx.Now(), nil })
	leads := false
	if err == nil && !c.upkept.renew.IsZero() {
		leads, err = c.leads(ctx, now)
	}
	if err == nil && leads {
		err = c.leasesDue(ctx)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("upkeep goes on later", "what", "begin and end leases", "err", err)
	}
}

// leasesDue begins and ends leases whose time has come, each in a transaction of its own, and notes
// when the next one's comes.
func (c *Conductor) leasesDue(ctx context.Context) error {
	c.upkept.lent = time.Time{}
	due, err := view(ctx, c, func(tx *store.Tx) ([]s4t.Lease, error) { return tx.DueLeases(tx.Now(), batch) })
	if err != nil {
		return err
	}
	for _, l := range due {
		if err := c.change(ctx, func(ch *change) error { return ch.turnLease(l.ID) }); err != nil {
			return err
		}
	}
	var left time.Duration
	next, err := view(ctx, c, func(tx *store.Tx) (time.Time, error) {
		at, err := tx.NextLease()
		left = at.Sub(tx.Now())
		return at, err
	})
	if err == nil && !next.IsZero() && left < upkeepInterval {
		c.upkept.lent = time.Now().Add(max(left, 0))
	}
	return err
}

// forgetLeases forgets leases that are over for long.
func (c *Conductor) forgetLeases(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.ForgetLeases(tx.Now().Add(-s4t.LeaseHistory), batch) })
}

// turnLease begins a lease, or ends it, where it is time for that.
func (ch *change) turnLease(id s4t.LeaseID) error {
	l, err := ch.holdLease(id)
	if err != nil {
		return err
	}
	switch {
	case l.Status.Over():
		return nil
	case !l.Until.After(ch.now):
		ch.begin(kindLeaseEnd, l.Project, string(l.ID), l.Name, ch.now)
		return ch.endLease(l, l.EndsAs(), "")
	case l.Status == s4t.LeasePending && !l.From.After(ch.now):
		l.Status = s4t.LeaseActive
		if err := ch.SetBoardLease(l); err != nil {
			return err
		}
		return ch.leaseEvents(l, "began", "")
	}
	return nil
}

// holdLease holds the boards of a lease, as each who writes it does, and returns how it is then, with
// its boards. The time of the change is the database's from then on.
func (ch *change) holdLease(id s4t.LeaseID) (s4t.Lease, error) {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{id})
	if err != nil {
		return s4t.Lease{}, err
	}
	if err := ch.LockBoards(boardIDs(boards[id])); err != nil {
		return s4t.Lease{}, err
	}
	ch.byDatabase()
	l, err := ch.LeaseByID(id)
	l.Boards = boards[id]
	return l, err
}
