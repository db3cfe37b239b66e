package conductor

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// bookingList returns the calendars of the boards that the caller's project owns, may book, or has
// booked. Who has a lease is told to who sees the lease; to others, that the time is taken.
func (c *Conductor) bookingList(ctx context.Context, req wire.BookingList) (wire.List[s4t.BoardCalendar], error) {
	const op = "list bookings"
	none := wire.List[s4t.BoardCalendar]{Items: []s4t.BoardCalendar{}}
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return none, err
	}
	return view(ctx, c, func(tx *store.Tx) (wire.List[s4t.BoardCalendar], error) {
		l := wire.List[s4t.BoardCalendar]{Items: []s4t.BoardCalendar{}}
		ch := &change{Tx: tx, c: c}
		ch.byDatabase()
		window, err := calendarWindow(op, req, ch.now)
		if err != nil {
			return l, err
		}
		if l.EventID, err = tx.LastEvent(); err != nil {
			return l, err
		}
		b, err := ch.newBooking(op, req.Caller, window, nil, 0)
		if err != nil {
			return l, err
		}
		boards, named, err := ch.calendarBoards(b, req.Labels)
		if err != nil {
			return l, err
		}
		boards, l.Next = calendarPage(boards, req.Page)
		l.Items, err = ch.calendars(b, boards, named, scope(req.Caller) == "")
		return l, err
	})
}

// calendarWindow is the time that calendars are asked for.
func calendarWindow(op string, req wire.BookingList, now time.Time) (lease.Window, error) {
	w := lease.Window{From: now}
	if req.From != nil {
		w.From = req.From.UTC()
	}
	w.Until = w.From.Add(7 * 24 * time.Hour)
	if req.Until != nil {
		w.Until = req.Until.UTC()
	}
	if !w.From.Before(w.Until) || w.For() > s4t.MaxCalendar {
		return w, s4t.Errorf(s4t.Invalid, op, "ask for up to 93 days", "from %s until %s is no such time", w.From.Format(time.RFC3339), w.Until.Format(time.RFC3339))
	}
	return w, nil
}

// calendarBoards are those that are the project's own, offered to it, or booked by it in the time.
func (ch *change) calendarBoards(b *booking, labels map[string]string) ([]store.Bookable, map[s4t.OfferID]map[s4t.BoardID]bool, error) {
	boards, named, err := ch.offered(b, labels, nil)
	if err != nil {
		return nil, nil, err
	}
	booked, err := ch.BookedBy(b.caller.Project, b.window.From, b.window.Until)
	if err != nil {
		return nil, nil, err
	}
	known := make(map[s4t.BoardID]bool, len(boards))
	for _, x := range boards {
		known[x.ID] = true
	}
	booked = slices.DeleteFunc(booked, func(id s4t.BoardID) bool { return known[id] })
	more, err := ch.BookableByID(booked)
	if err != nil {
		return nil, nil, err
	}
	for _, x := range more {
		if (len(labels) == 0) || (s4t.FleetRule{Labels: labels}).Matches(x.Labels, nil) {
			boards = append(boards, x)
		}
	}
	slices.SortFunc(boards, byName)
	return boards, named, nil
}

func byName(a, b store.Bookable) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
}

// calendarPage is a page of boards, and where the next one begins: NAME/ID of its last board.
func calendarPage(boards []store.Bookable, p wire.Page) ([]store.Bookable, string) {
	if name, id, ok := strings.Cut(p.After, "/"); ok {
		at, found := slices.BinarySearchFunc(boards, store.Bookable{Name: name, ID: s4t.BoardID(id)}, byName)
		if found {
			at++
		}
		boards = boards[at:]
	}
	limit := cmp.Or(p.Limit, wire.MaxPage)
	if len(boards) <= limit {
		return boards, ""
	}
	last := boards[limit-1]
	return boards[:limit], last.Name + "/" + string(last.ID)
}

// calendars fills in what is booked of boards, and when they may be. With all, who asks sees every
// lease.
func (ch *change) calendars(b *booking, boards []store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool, all bool) ([]s4t.BoardCalendar, error) {
	ids := make([]s4t.BoardID, len(boards))
	for i, x := range boards {
		ids[i] = x.ID
	}
	booked, err := ch.Bookings(ids, b.window.From, b.window.Until, b.caller.Project, all)
	if err != nil {
		return nil, err
	}
	owners := map[s4t.ProjectID]string{}
	open := map[s4t.OfferID][]s4t.Window{}
	out := make([]s4t.BoardCalendar, len(boards))
	for i, x := range boards {
		if _, known := owners[x.Project]; !known {
			p, err := ch.Project(string(x.Project))
			if err != nil {
				return nil, err
			}
			owners[x.Project] = p.Name
		}
		item := s4t.BoardCalendar{ID: x.ID, Name: x.Name, Project: x.Project, Owner: owners[x.Project], Online: x.Online, Labels: x.Labels, Booked: unseen(booked[x.ID]), Open: []s4t.Window{}}
		if x.Project == b.caller.Project {
			item.Open, item.Allow = []s4t.Window{{From: b.window.From, Until: b.window.Until}}, lease.All().Words()
		} else {
			actions := map[lease.Action]bool{}
			for _, o := range b.offers {
				if !offers(o, x, named) {
					continue
				}
				item.Offers = append(item.Offers, o.ID)
				for _, a := range o.Allow {
					actions[lease.Action(a)] = true
				}
				if open[o.ID] == nil {
					open[o.ID] = openIn(b.hours[o.ID], b.window)
				}
				item.Open = union(item.Open, open[o.ID])
			}
			for _, a := range lease.All() {
				if actions[a] {
					item.Allow = append(item.Allow, string(a))
				}
			}
		}
		out[i] = item
	}
	return out, nil
}

// offers reports whether a board is one of those of an offer.
func offers(o s4t.Offer, board store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool) bool {
	return o.Project == board.Project && (named[o.ID][board.ID] || (s4t.FleetRule{Labels: o.Labels}).Matches(board.Labels, nil))
}

// openIn are the parts of a window in which hours are open.
func openIn(h s4t.Hours, w lease.Window) []s4t.Window {
	found := []s4t.Window{}
	for at := w.From; at.Before(w.Until); {
		open, changes := h.At(at)
		until := w.Until
		if !changes.IsZero() && changes.Before(until) {
			until = changes
		}
		if open {
			found = append(found, s4t.Window{From: at, Until: until})
		}
		at = until
	}
	return found
}

// union are windows of two lists, those that touch as one.
func union(a, b []s4t.Window) []s4t.Window {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y s4t.Window) int { return x.From.Compare(y.From) })
	out := all[:0]
	for _, w := range all {
		if n := len(out); n > 0 && !w.From.After(out[n-1].Until) {
			if w.Until.After(out[n-1].Until) {
				out[n-1].Until = w.Until
			}
			continue
		}
		out = append(out, w)
	}
	return out
}

// unseen makes one of those bookings that touch of which nothing is told but the time: how many they
// are is nothing of who asks.
func unseen(all []s4t.Booking) []s4t.Booking {
	out := []s4t.Booking{}
	for _, x := range all {
		i := slices.IndexFunc(out, func(y s4t.Booking) bool {
			return x.Lease == "" && y.Lease == "" && x.Shared == y.Shared && !x.From.After(y.Until) && !y.From.After(x.Until)
		})
		if i < 0 {
			out = append(out, x)
		} else if x.Until.After(out[i].Until) {
			out[i].Until = x.Until
		}
	}
	return out
}

// holdsBy says by which lease a board is used.
func holdsBy(tx *store.Tx, by right) (*s4t.LeasedBy, error) {
	l, err := tx.LeaseByID(by.Lease)
	if err != nil {
		return nil, err
	}
	return &s4t.LeasedBy{ID: l.ID, Name: l.Name, Until: by.Until, Allow: l.Allow}, nil
}

// lesseesHear has what lessees of boards see of them told to them too: that they come and go, and change.
func (ch *change) lesseesHear() error {
	told := map[s4t.BoardID][]s4t.Event{}
	for _, e := range ch.events {
		switch e.Kind {
		case "board.online", "board.offline", "board.updated", "board.recovered":
			told[s4t.BoardID(e.Object)] = append(told[s4t.BoardID(e.Object)], e)
		}
	}
	if len(told) == 0 {
		return nil
	}
	lessees, err := ch.Lessees(slices.Sorted(maps.Keys(told)), ch.now)
	if err != nil {
		return err
	}
	for _, l := range lessees {
		for _, e := range told[l.Board] {
			if e.Project != l.Project {
				e.Project = l.Project
				ch.events = append(ch.events, e)
			}
		}
	}
	return nil
}
