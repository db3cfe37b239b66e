package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// leaseList returns the leases that the caller's project has, or gave, by name.
func (c *Conductor) leaseList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Lease], error) {
	return list(ctx, c, req.Caller, "list leases", req.Page, same[s4t.Lease], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Lease], error) {
		l, err := tx.BoardLeases(scope(req.Caller), p)
		if err != nil {
			return l, err
		}
		return l, withLeased(tx, l.Items)
	})
}

// leaseGet returns a lease with its boards.
func (c *Conductor) leaseGet(ctx context.Context, req wire.RefRequest) (s4t.Lease, error) {
	op := fmt.Sprintf("show lease %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Lease{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (l s4t.Lease, err error) {
		if l, err = findLease(tx, req.Caller, op, req.Ref); s4t.KindOf(err) == s4t.NotFound {
			l, err = lentBy(tx, req.Caller, op, req.Ref)
		}
		if err != nil {
			return l, err
		}
		one := []s4t.Lease{l}
		err = withLeased(tx, one)
		return one[0], err
	})
}

// leaseExtend moves the end of a lease back, where its boards are free, its offers still
// stand, and, of a share, what it is a share of lasts as long.
func (c *Conductor) leaseExtend(ctx context.Context, req wire.LeaseExtend) (s4t.Lease, error) {
	op := fmt.Sprintf("extend lease %q", req.Ref)
	var l s4t.Lease
	err := c.request(ctx, req.Caller, "lease.extend", req.Ref, func(ch *change, rec *s4t.AuditRecord) (err error) {
		if l, err = findLease(ch.Tx, req.Caller, op, req.Ref); err != nil {
			return err
		}
		rec.Object, rec.Name = string(l.ID), l.Name
		if l, err = ch.holdLease(l.ID); err != nil {
			return err
		}
		if l.Status.Over() || !l.Until.After(ch.now) {
			return s4t.Errorf(s4t.Conflict, op, "book anew: `s4t lease create`", "it is over")
		}
		if req.For < 1 || req.For.Duration() > s4t.MaxLease {
			return s4t.Errorf(s4t.Invalid, op, "use up to 366 days", "it cannot be extended by %v", req.For.Duration())
		}
		more := lease.Window{From: l.Until, Until: l.Until.Add(req.For.Duration())}
		if l.Parent != "" {
			above, err := ch.LeaseByID(l.Parent)
			if err != nil {
				return err
			}
			if more.Until.After(above.Until) {
				return s4t.Errorf(s4t.Forbidden, op, "ask for less", "what it is a share of ends at %s", above.Until.UTC().Format(time.RFC3339))
			}
		} else if err := ch.extendable(op, req.Caller, l, l.Boards, more); err != nil {
			return err
		}
		l.Until = more.Until
		if err := ch.leaseEvents(l, "extended", "until "+l.Until.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
		return ch.setLease(l)
	})
	return l, err
}

// extendable reports what stands against the extension of a lease by a window that begins at
// its end.
func (ch *change) extendable(op string, caller wire.Caller, l s4t.Lease, boards []s4t.LeaseBoard, more lease.Window) error {
	b, err := ch.newBooking(op, wire.Caller{Project: l.Project, User: caller.User}, lease.Window{From: l.From, Until: more.Until}, nil, l.Priority)
	if err != nil {
		return err
	}
	if b.allow, err = lease.ParseSet(strings.Join(l.Allow, ",")); err != nil {
		return err
	}
	calendars, err := ch.Calendars(boardIDs(boards), l.From)
	if err != nil {
		return err
	}
	for _, x := range boards {
		shared := false
		if x.Owner != l.Project {
			i := slices.IndexFunc(b.offers, func(o s4t.Offer) bool { return o.ID == x.Offer })
			if i < 0 {
				return s4t.Errorf(s4t.Forbidden, op, "", "board %q is not offered any more", x.Name)
			}
			if why := b.fits(b.offers[i]); why != "" {
				return s4t.Errorf(s4t.Forbidden, op, "", "by offer %q of board %q: %s", b.offers[i].Name, x.Name, why)
			}
			shared = b.offers[i].Shared
		}
		if against := calendars[x.ID].Conflicts(lease.Entry{Lease: l.ID, Window: more, Shared: shared}); len(against) > 0 {
			return s4t.Errorf(s4t.Conflict, op, "ask for less", "board %q is booked from %s on", x.Name, against[0].Window.From.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func boardIDs(boards []s4t.LeaseBoard) []s4t.BoardID {
	ids := make([]s4t.BoardID, len(boards))
	for i, b := range boards {
		ids[i] = b.ID
	}
	slices.Sort(ids)
	return ids
}

// leaseShare passes on a part of a lease.
func (c *Conductor) leaseShare(ctx context.Context, req wire.LeaseShare) (s4t.Lease, error) {
	op := fmt.Sprintf("share lease %q", req.Ref)
	var share s4t.Lease
	err := c.request(ctx, req.Caller, "lease.share", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		l, err := findLease(ch.Tx, req.Caller, op, req.Ref)
		if err != nil {
			return err
		}
		if l, err = ch.holdLease(l.ID); err != nil {
			return err
		}
		if l.Status.Over() || !l.Until.After(ch.now) {
			return s4t.Errorf(s4t.Conflict, op, "", "it is over")
		}
		to, err := ch.Project(req.To)
		if err != nil {
			return err
		}
		if to.ID == l.Project {
			return s4t.Errorf(s4t.Invalid, op, "name another project", "it is the project's own")
		}
		if err := ch.Claim(op, req.Caller.Project, s4t.QuotaLeases, 1); err != nil {
			return err
		}
		set, err := lease.ParseSet(strings.Join(l.Allow, ","))
		if err != nil {
			return err
		}
		have := lease.Grant{Boards: boardIDs(l.Boards), Window: lease.Window{From: l.From, Until: l.Until}, Allow: set, Priority: l.Priority}
		want := lease.Grant{Priority: l.Priority}
		if len(req.Allow) > 0 {
			if want.Allow, err = lease.ParseSet(strings.Join(req.Allow, ",")); err != nil {
				return err
			}
		}
		if req.Until != nil {
			want.Window.Until = req.Until.UTC().Truncate(time.Microsecond)
		}
		for _, ref := range req.Boards {
			i := slices.IndexFunc(l.Boards, func(b s4t.LeaseBoard) bool { return b.Name == ref || string(b.ID) == ref })
			if i < 0 {
				return s4t.Errorf(s4t.NotFound, op, "`s4t lease show` lists its boards", "it has no board %q", s4t.Line(ref, s4t.MaxName))
			}
			want.Boards = append(want.Boards, l.Boards[i].ID)
		}
		if want, err = have.Attenuate(op, want); err != nil {
			return err
		}
		share = s4t.Lease{
			ID: s4t.LeaseID(s4t.NewID()), Name: req.Name, Project: to.ID, Parent: l.ID, User: req.Caller.User, Status: l.Status,
			From: want.Window.From, Until: want.Window.Until, Allow: want.Allow.Words(), Priority: want.Priority, CreatedAt: ch.now,
		}
		if share.Name == "" {
			share.Name = l.Name
		} else if err := s4t.ValidName("lease", share.Name); err != nil {
			return err
		}
		same, err := ch.LeasesNamed(to.ID, share.Name)
		if err != nil {
			return err
		}
		if len(same) > 0 {
			share.Name += "-" + string(share.ID[:8])
		}
		rec.Object, rec.Name = string(share.ID), share.Name
		rec.Detail = fmt.Sprintf("of lease %q, to project %q", l.Name, to.Name)
		var members []store.LeaseMember
		for _, id := range want.Boards {
			members = append(members, store.LeaseMember{Board: id})
		}
		if err := ch.InsertBoardLease(share, members); err != nil {
			return err
		}
		if err := ch.rebook(share.ID); err != nil {
			return err
		}
		if err := ch.leaseEvents(share, "created", "a share of another's"); err != nil {
			return err
		}
		one := []s4t.Lease{share}
		err = withLeased(ch.Tx, one)
		share = one[0]
		return err
	})
	return share, err
}

// whoCan lists who may do what on a board now: its owner to who has any of it, others to the
// owner.
func (c *Conductor) whoCan(ctx context.Context, req wire.WhoCan) (wire.List[s4t.Access], error) {
	op := fmt.Sprintf("see who can use board %q", req.Board)
	var l wire.List[s4t.Access]
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return l, err
	}
	var action lease.Action
	if req.Action != "" {
		set, err := lease.ParseSet(req.Action)
		if err != nil {
			return l, err
		}
		action = set[0]
	}
	now := c.now()
	return view(ctx, c, func(tx *store.Tx) (wire.List[s4t.Access], error) {
		l := wire.List[s4t.Access]{Items: []s4t.Access{}}
		b, _, err := findBoard(tx, req.Caller, op, wire.MethodWhoCan, req.Board)
		if err != nil {
			return l, err
		}
		tree, err := tx.Holdings(b.ID)
		if err != nil {
			return l, err
		}
		for _, h := range tree.Who(now) {
			if action != "" && h.Lease != "" && !h.Allow.Has(action) {
				continue
			}
			a := s4t.Access{Project: h.Project, By: "owner", Lease: h.Lease, Allow: lease.All().Words()}
			if p, err := tx.Project(string(h.Project)); err == nil {
				a.Name = p.Name
			}
			if h.Lease != "" {
				a.By, a.Allow, a.Until = fmt.Sprintf("lease %q", h.Name), h.Allow.Words(), h.Window.Until
				if h.Parent != "" {
					a.By = fmt.Sprintf("share %q", h.Name)
				}
			}
			l.Items = append(l.Items, a)
		}
		return l, nil
	})
}
