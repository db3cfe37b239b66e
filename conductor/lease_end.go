package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// preempt lets a lease yield to one of a higher priority: it ends at until, with its shares,
// and is told why and when its boards are free next.
func (ch *change) preempt(b *booking, id s4t.LeaseID, until time.Time, by s4t.Lease) error {
	l, err := ch.LeaseByID(id)
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("for a lease of priority %d", by.Priority)
	boards, err := ch.LeaseBoards([]s4t.LeaseID{id})
	if err != nil {
		return err
	}
	next, ok, err := ch.nextFreeOf(l, boards[id], by)
	if err != nil {
		return err
	}
	if ok {
		l.Next = &next
		detail += "; its boards are free again from " + next.UTC().Format(time.RFC3339) + " on"
	}
	if until.After(ch.now) && l.From.Before(until) { // it goes on until then
		l.Until, l.Reason = until, detail
		if err := ch.leaseEvents(l, "preempted", detail+"; it ends at "+until.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
		return ch.shorten(l)
	}
	return ch.endLease(l, s4t.LeasePreempted, detail)
}

// nextFreeOf is when the boards of a lease that yields are free for as long as it was to be.
func (ch *change) nextFreeOf(l s4t.Lease, boards []s4t.LeaseBoard, by s4t.Lease) (time.Time, bool, error) {
	ids := make([]s4t.BoardID, len(boards))
	for i, x := range boards {
		ids[i] = x.ID
	}
	return ch.freeTogether(ids, by.From, onTheSecond(by.Until), by.Until.Add(31*24*time.Hour), func(_ int, c lease.Calendar, at, horizon time.Time) (lease.Window, bool) {
		return c.FirstFree(lease.Entry{Lease: l.ID}, l.Until.Sub(l.From), at, horizon, s4t.Hours{})
	})
}

// below are the shares of a lease, theirs, and so on, those at the ends first.
func (ch *change) below(id s4t.LeaseID) ([]s4t.Lease, error) {
	shares, err := ch.SharesOf(id)
	if err != nil {
		return nil, err
	}
	var all []s4t.Lease
	for _, s := range shares {
		under, err := ch.below(s.ID)
		if err != nil {
			return nil, err
		}
		all = append(append(all, under...), s)
	}
	return all, nil
}

// shorten writes a lease that ends earlier, and its shares with it.
func (ch *change) shorten(l s4t.Lease) error {
	shares, err := ch.below(l.ID)
	if err != nil {
		return err
	}
	for _, s := range shares {
		if s.Until.After(l.Until) {
			s.Until, s.Reason = l.Until, "what it is a share of ends"
			if !s.From.Before(s.Until) {
				if err := ch.overWith(s, s4t.LeaseRevoked); err != nil {
					return err
				}
				continue
			}
			if err := ch.setLease(s); err != nil {
				return err
			}
		}
	}
	return ch.setLease(l)
}

// setLease writes a lease that ends at another time.
func (ch *change) setLease(l s4t.Lease) error {
	if err := ch.SetBoardLease(l); err != nil {
		return err
	}
	if err := ch.rebook(l.ID); err != nil {
		return err
	}
	return ch.streamsOfLease(l)
}

// endLease ends a lease now, after its shares.
func (ch *change) endLease(l s4t.Lease, status s4t.LeaseStatus, why string) error {
	shares, err := ch.below(l.ID)
	if err != nil {
		return err
	}
	below := s4t.LeaseRevoked
	if status == s4t.LeaseEnded {
		below = s4t.LeaseEnded
	}
	for _, s := range shares {
		s.Reason = fmt.Sprintf("lease %q ended", l.Name)
		if err := ch.overWith(s, below); err != nil {
			return err
		}
	}
	if why != "" {
		l.Reason = why
	}
	return ch.overWith(l, status)
}

// overWith writes that one lease is over, and takes back what it made.
func (ch *change) overWith(l s4t.Lease, status s4t.LeaseStatus) error {
	kind := map[s4t.LeaseStatus]string{s4t.LeaseEnded: "ended", s4t.LeaseReleased: "released", s4t.LeasePreempted: "preempted", s4t.LeaseRevoked: "revoked"}[status]
	if status == s4t.LeasePreempted && !l.Until.After(ch.now) {
		kind = "ended" // it was told before
	}
	l.Status = status
	if l.Until.After(ch.now) {
		l.Until = ch.now
	}
	if l.From.After(l.Until) {
		l.From = l.Until
	}
	if err := ch.SetBoardLease(l); err != nil {
		return err
	}
	if err := ch.rebook(l.ID); err != nil {
		return err
	}
	if err := ch.takeLeased(l); err != nil {
		return err
	}
	return ch.leaseEvents(l, kind, l.Reason)
}

// leaseRelease gives boards back: who has a lease releases it, the owner of its boards, or who
// shared it on, revokes it.
func (c *Conductor) leaseRelease(ctx context.Context, req wire.RefRequest) (s4t.Lease, error) {
	received := c.now()
	op := fmt.Sprintf("release lease %q", req.Ref)
	var l s4t.Lease
	err := c.request(ctx, req.Caller, "lease.release", req.Ref, func(ch *change, rec *s4t.AuditRecord) (err error) {
		status := s4t.LeaseReleased
		if l, err = findLease(ch.Tx, req.Caller, op, req.Ref); s4t.KindOf(err) == s4t.NotFound {
			if l, err = lentBy(ch.Tx, req.Caller, op, req.Ref); err == nil {
				err = allow(req.Caller, op, s4t.RoleManager)
			}
		}
		if err != nil {
			return err
		}
		if l, err = ch.holdLease(l.ID); err != nil {
			return err
		}
		rec.Object, rec.Name = string(l.ID), l.Name
		if l.Status.Over() {
			return s4t.Errorf(s4t.Conflict, op, "", "it is over: %s", l.Status)
		}
		if l.Project != req.Caller.Project {
			status = s4t.LeaseRevoked
		}
		why := ""
		if status == s4t.LeaseRevoked {
			why = "taken back"
		}
		takes := ch.begin(kindLeaseEnd, l.Project, string(l.ID), l.Name, received).ID
		if err := ch.endLease(l, status, why); err != nil {
			return err
		}
		if l, err = ch.LeaseByID(l.ID); err != nil {
			return err
		}
		one := []s4t.Lease{l}
		err = withLeased(ch.Tx, one)
		l = one[0]
		l.Operation = takes
		return err
	})
	return l, err
}

// lentBy returns the lease that ref means for who lent its boards: their owner, or who has the
// lease that it is a share of.
func lentBy(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Lease, error) {
	none := s4t.Errorf(s4t.NotFound, op, "`s4t lease list` shows what there is; name what others have by its id", "lease %q does not exist", s4t.Line(ref, s4t.MaxName))
	if !s4t.IsID(ref) {
		return s4t.Lease{}, none
	}
	l, err := tx.LeaseByID(s4t.LeaseID(ref))
	if err != nil {
		return l, none
	}
	for above := l; above.Parent != ""; {
		if above, err = tx.LeaseByID(above.Parent); err != nil {
			return l, err
		}
		if above.Project == caller.Project {
			return l, nil
		}
	}
	boards, err := tx.LeaseBoards([]s4t.LeaseID{l.ID})
	if err != nil {
		return l, err
	}
	for _, b := range boards[l.ID] {
		if b.Owner == caller.Project {
			return l, nil
		}
	}
	return s4t.Lease{}, none
}
