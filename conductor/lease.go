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

// findLease returns the lease that ref, a name or an id, means for who has it.
func findLease(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Lease, error) {
	return find(tx, caller, op, "lease", ref, func(id string) (s4t.Lease, error) { return tx.LeaseByID(s4t.LeaseID(id)) }, tx.LeasesNamed,
		func(l s4t.Lease) string { return string(l.ID) }, func(l s4t.Lease) s4t.ProjectID { return l.Project })
}

// withLeased fills in the boards of leases.
func withLeased(tx *store.Tx, leases []s4t.Lease) error {
	ids := make([]s4t.LeaseID, len(leases))
	for i, l := range leases {
		ids[i] = l.ID
	}
	boards, err := tx.LeaseBoards(ids)
	for i := range leases {
		if leases[i].Boards = boards[leases[i].ID]; leases[i].Boards == nil {
			leases[i].Boards = []s4t.LeaseBoard{}
		}
	}
	return err
}

// windowOf is the window that is asked for.
func windowOf(op string, from *time.Time, length s4t.Seconds, now time.Time) (lease.Window, error) {
	bad := func(hint, format string, args ...any) (lease.Window, error) {
		return lease.Window{}, s4t.Errorf(s4t.Invalid, op, hint, format, args...)
	}
	if length == 0 {
		length = s4t.Seconds(s4t.DefaultLease / time.Second)
	}
	if length < 1 || length.Duration() > s4t.MaxLease {
		return bad("use up to 366 days", "a lease of %v is not possible", length.Duration())
	}
	now = now.Truncate(time.Microsecond) // as it is kept
	w := lease.Window{From: now, Until: now.Add(length.Duration())}
	if from != nil {
		w.From = from.UTC().Truncate(time.Microsecond)
		if w.From.Before(now) { // what begins now may have been asked for a moment ago
			if now.Sub(w.From) > time.Minute {
				return bad("leave it out for now", "%s is over", from.UTC().Format(time.RFC3339))
			}
			w.From = now
		}
		if w.From.Sub(now) > s4t.MaxLeaseAhead {
			return bad("begin within 366 days", "%s is too far ahead", from.UTC().Format(time.RFC3339))
		}
		w.Until = w.From.Add(length.Duration())
	}
	return w, nil
}

// checkLease checks what is asked for.
func checkLease(op string, req wire.LeaseCreate) (lease.Set, error) {
	bad := func(hint, format string, args ...any) (lease.Set, error) {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, format, args...)
	}
	switch {
	case len(req.Boards) > 0 && (req.Count > 0 || len(req.Labels) > 0 || req.Near != nil || req.Pin != ""):
		return bad("name boards, or say how many with which labels", "it is asked for boards by name and by count")
	case len(req.Boards) == 0 && req.Count == 0:
		return bad("name boards (--board), or say how many (--count)", "it has no boards")
	case req.Count < 0 || max(req.Count, len(req.Boards)) > s4t.MaxLeaseBoards:
		return bad("book several leases", "at most %d boards are possible in one", s4t.MaxLeaseBoards)
	case req.Priority < 0 || req.Priority > s4t.MaxPriority:
		return bad(fmt.Sprintf("use 0 to %d", s4t.MaxPriority), "there is no priority %d", req.Priority)
	}
	if req.Name != "" {
		if err := s4t.ValidName("lease", req.Name); err != nil {
			return nil, err
		}
	}
	if err := checkPlace(req.Near); err != nil {
		return nil, err
	}
	if err := checkPinPattern(op, req.Pin); err != nil {
		return nil, err
	}
	if len(req.Allow) == 0 {
		return nil, nil
	}
	return lease.ParseSet(strings.Join(req.Allow, ","))
}

// leaseCreate books boards.
func (c *Conductor) leaseCreate(ctx context.Context, req wire.LeaseCreate) (s4t.Lease, error) {
	op := fmt.Sprintf("create lease %q", s4t.Line(req.Name, s4t.MaxName))
	var l s4t.Lease
	var err error
	if req.Boards, err = c.meant(ctx, req.Caller, op, req.Boards, req.Fleet, nil); err != nil {
		return l, err
	}
	err = c.request(ctx, req.Caller, "lease.create", s4t.Line(req.Name, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		allow, err := checkLease(op, req)
		if err != nil {
			return err
		}
		ch.byDatabase()
		window, err := windowOf(op, req.From, req.For, ch.now)
		if err != nil {
			return err
		}
		b, err := ch.newBooking(op, req.Caller, window, allow, req.Priority)
		if err != nil {
			return err
		}
		if err := ch.Claim(op, req.Caller.Project, s4t.QuotaLeases, 1); err != nil {
			return err
		}
		chosen, err := ch.choose(b, req)
		if err != nil {
			return err
		}
		l, err = ch.book(b, req, chosen)
		rec.Object, rec.Name = string(l.ID), l.Name
		return err
	})
	return l, err
}

// choose finds the boards of a booking, holds them, and looks at their calendars when nobody
// else can write them any more.
func (ch *change) choose(b *booking, req wire.LeaseCreate) ([]bookable, error) {
	boards, named, err := ch.offered(b, req.Labels, near(req.Near, req.Within).cells())
	if err != nil {
		return nil, err
	}
	var some []bookable
	if len(req.Boards) > 0 {
		if some, err = ch.chooseNamed(b, req, boards, named); err != nil {
			return nil, err
		}
	} else if some, err = ch.chooseFitting(b, req, boards, named); err != nil {
		return nil, err
	}
	slices.SortFunc(some, func(x, y bookable) int { return strings.Compare(string(x.ID), string(y.ID)) })
	ids := make([]s4t.BoardID, len(some))
	for i, x := range some {
		ids[i] = x.ID
	}
	if err := ch.LockBoards(ids); err != nil {
		return nil, err
	}
	if err := ch.judge(b, some); err != nil {
		return nil, err
	}
	var refused []bookable
	some = slices.DeleteFunc(some, func(x bookable) bool {
		if len(x.verdict.Against) > 0 {
			refused = append(refused, x)
			return true
		}
		return false
	})
	if len(refused) > 0 && !(req.Partial && len(some) > 0) {
		return nil, ch.booked(b, refused)
	}
	return some, nil
}

// booked is the error of boards that are booked, with when all of them are free next.
func (ch *change) booked(b *booking, refused []bookable) error {
	var names []string
	for _, x := range refused[:min(len(refused), maxCandidates)] {
		names = append(names, x.Name)
	}
	if more := len(refused) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	hint := "choose another time, or boards"
	if next, ok, err := ch.nextFree(b, refused); err != nil {
		return err
	} else if ok {
		hint = "they are free from " + next.UTC().Format(time.RFC3339) + " on: --from " + next.UTC().Format(time.RFC3339)
	}
	return s4t.Errorf(s4t.Conflict, b.op, hint, "booked by others at that time: %s", strings.Join(names, ", "))
}

// nextFree is the first time, within a month of the window's begin, from which all of some
// boards are free for as long.
func (ch *change) nextFree(b *booking, boards []bookable) (time.Time, bool, error) {
	ids := make([]s4t.BoardID, len(boards))
	for i, x := range boards {
		ids[i] = x.ID
	}
	return ch.freeTogether(ids, b.window.From, b.window.From, b.window.From.Add(31*24*time.Hour+b.window.For()), func(i int, c lease.Calendar, at, horizon time.Time) (lease.Window, bool) {
		offer := boards[i].offer
		return c.FirstFree(lease.Entry{Shared: offer.Shared}, b.window.For(), at, horizon, b.hours[offer.ID])
	})
}

// freeTogether is the first time from at on, on the second where that is later, at which all of some boards
// are free; first says of the board with an index, by its calendar from a time on, when it alone is.
func (ch *change) freeTogether(ids []s4t.BoardID, from, at, horizon time.Time, first func(i int, c lease.Calendar, at, horizon time.Time) (lease.Window, bool)) (time.Time, bool, error) {
	calendars, err := ch.Calendars(ids, from)
	if err != nil {
		return time.Time{}, false, err
	}
	for moved := true; moved; {
		moved = false
		for i, id := range ids {
			w, ok := first(i, calendars[id], at, horizon)
			if !ok {
				return time.Time{}, false, nil
			}
			if w.From.After(at) {
				at, moved = onTheSecond(w.From), true
			}
		}
	}
	return at, true, nil
}

// onTheSecond is the first whole second that is not before a time: what people are told of, they can
// ask for.
func onTheSecond(t time.Time) time.Time {
	if s := t.Truncate(time.Second); !s.Equal(t) {
		return s.Add(time.Second)
	}
	return t
}

// chooseNamed are the boards that are named: the project's own, or offered ones, by name or id.
func (ch *change) chooseNamed(b *booking, req wire.LeaseCreate, boards []store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool) ([]bookable, error) {
	var some []bookable
	for _, ref := range req.Boards {
		var found []store.Bookable
		for _, x := range boards {
			if string(x.ID) == ref || x.Name == ref {
				found = append(found, x)
			}
		}
		if own := slices.IndexFunc(found, func(x store.Bookable) bool { return x.Project == b.caller.Project }); own >= 0 {
			found = found[own : own+1]
		}
		switch {
		case len(found) == 0:
			return nil, s4t.Errorf(s4t.NotFound, b.op, "`s4t board search` shows what is offered", "board %q is not the project's, and nobody offers it", s4t.Line(ref, s4t.MaxName))
		case len(found) > 1:
			return nil, s4t.Errorf(s4t.Conflict, b.op, "give its id: `s4t board search`", "several boards %q are offered", s4t.Line(ref, s4t.MaxName))
		}
		offer, allow, why := b.by(found[0], named)
		if why != "" {
			if req.Partial {
				continue
			}
			return nil, s4t.Errorf(s4t.Forbidden, b.op, "see `s4t offer list`", "board %q cannot be booked: %s", found[0].Name, why)
		}
		if !slices.ContainsFunc(some, func(x bookable) bool { return x.ID == found[0].ID }) {
			some = append(some, bookable{Bookable: found[0], offer: offer, allow: allow})
		}
	}
	if len(some) == 0 {
		return nil, s4t.Errorf(s4t.Forbidden, b.op, "see `s4t offer list`", "none of the boards can be booked so")
	}
	return some, nil
}

// book writes the lease, and ends those that yield to it.
func (ch *change) book(b *booking, req wire.LeaseCreate, boards []bookable) (s4t.Lease, error) {
	l := s4t.Lease{
		ID: s4t.LeaseID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, User: req.Caller.User, Status: s4t.LeasePending,
		From: b.window.From, Until: b.window.Until, Priority: req.Priority, CreatedAt: ch.now,
	}
	if l.Name == "" {
		l.Name = "lease-" + string(l.ID[:8])
	}
	same, err := ch.LeasesNamed(l.Project, l.Name)
	if err != nil {
		return l, err
	}
	if len(same) > 0 {
		return l, s4t.Errorf(s4t.Conflict, b.op, "choose another name, or none", "the project has a lease of this name")
	}
	allow := lease.All()
	var members []store.LeaseMember
	yields := map[s4t.LeaseID]time.Time{}
	for _, x := range boards {
		allow = allow.And(x.allow)
		members = append(members, store.LeaseMember{Board: x.ID, Offer: x.offer.ID, Shared: x.offer.Shared})
		if x.verdict.From.After(l.From) {
			l.From = x.verdict.From
		}
		for _, e := range x.verdict.Yield {
			if until, ok := yields[e.Lease]; !ok || e.Window.Until.Before(until) {
				yields[e.Lease] = e.Window.Until
			}
		}
	}
	if len(allow) == 0 {
		return l, s4t.Errorf(s4t.Conflict, b.op, "book them one by one", "the offers of these boards allow nothing in common")
	}
	l.Allow = allow.Words()
	for id, until := range yields {
		if err := ch.preempt(b, id, until, l); err != nil {
			return l, err
		}
	}
	if !l.From.After(ch.now) {
		l.Status = s4t.LeaseActive
	}
	if err := ch.InsertBoardLease(l, members); err != nil {
		return l, err
	}
	if err := ch.rebook(l.ID); err != nil {
		return l, err
	}
	if err := ch.leaseEvents(l, "created", ""); err != nil {
		return l, err
	}
	if l.Status == s4t.LeaseActive {
		if err := ch.leaseEvents(l, "began", ""); err != nil {
			return l, err
		}
	}
	one := []s4t.Lease{l}
	err = withLeased(ch.Tx, one)
	return one[0], err
}

// leaseEvents tells who has a lease, and the owners of its boards, what is with it.
func (ch *change) leaseEvents(l s4t.Lease, kind, detail string) error {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{l.ID})
	if err != nil {
		return err
	}
	told := []s4t.ProjectID{l.Project}
	for _, b := range boards[l.ID] {
		if !slices.Contains(told, b.Owner) {
			told = append(told, b.Owner)
			ch.lentBy(b.Owner)
		}
	}
	data := map[string]any{"id": l.ID, "project": l.Project, "status": l.Status, "from": l.From, "until": l.Until}
	if l.Next != nil {
		data["next_free"] = *l.Next
	}
	for _, p := range told {
		ch.event(s4t.Event{Kind: "lease." + kind, Project: p, Object: string(l.ID), Name: l.Name, Detail: detail, Data: data})
	}
	return nil
}
