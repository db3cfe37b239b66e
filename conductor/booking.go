package conductor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// usedFor is how far back it is looked how much a board was used.
const usedFor = 30 * 24 * time.Hour

// booking is what a lease is made of while it is decided.
type booking struct {
	op     string
	caller wire.Caller
	window lease.Window
	allow  lease.Set // empty: what the offers allow
	prio   int
	offers []s4t.Offer // that the caller's project may book by
	hours  map[s4t.OfferID]s4t.Hours
}

// bookable is a board with the offer by which it may be booked, and what becomes of its
// calendar.
type bookable struct {
	store.Bookable
	offer   s4t.Offer // its ID is empty: it is the project's own
	allow   lease.Set
	verdict lease.Verdict
	free    time.Duration // how long it stays free from the begin on
}

// newBooking reads the offers to the caller's project.
func (ch *change) newBooking(op string, caller wire.Caller, window lease.Window, allow lease.Set, prio int) (*booking, error) {
	b := &booking{op: op, caller: caller, window: window, allow: allow, prio: prio, hours: map[s4t.OfferID]s4t.Hours{}}
	var err error
	if b.offers, err = ch.OffersTo(caller.Project); err != nil {
		return nil, err
	}
	for i := range b.offers {
		o := &b.offers[i]
		if b.hours[o.ID], err = hoursOf(*o); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fits says why a booking is not by an offer; empty: it is.
func (b *booking) fits(o s4t.Offer) string {
	set := allowedBy(o)
	switch {
	case !b.allow.Within(set):
		return fmt.Sprintf("it allows %s", set)
	case b.window.For() > o.Max.Duration():
		return fmt.Sprintf("a lease by it is at most %s", o.Max.Duration())
	case b.prio > o.MaxPriority:
		return fmt.Sprintf("its highest priority is %d", o.MaxPriority)
	case !lease.Open(b.hours[o.ID], b.window):
		return "it is for " + o.Hours + " only"
	}
	return ""
}

// allowedBy are the actions of an offer.
func allowedBy(o s4t.Offer) (set lease.Set) {
	for _, a := range o.Allow {
		set = append(set, lease.Action(a))
	}
	return set
}

// by is the first offer by which a board may be booked, and what it allows then; why says
// what stands against each offer where none does.
func (b *booking) by(board store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool) (offer s4t.Offer, allow lease.Set, why string) {
	if board.Project == b.caller.Project {
		if len(b.allow) == 0 {
			return offer, lease.All(), ""
		}
		return offer, b.allow, ""
	}
	why = "nobody offers it to this project"
	for _, o := range b.offers {
		if o.Project != board.Project || !named[o.ID][board.ID] && !(s4t.FleetRule{Labels: o.Labels}).Matches(board.Labels, nil) {
			continue
		}
		if why = b.fits(o); why != "" {
			why = fmt.Sprintf("by offer %q: %s", o.Name, why)
			continue
		}
		if allow = b.allow; len(allow) == 0 {
			allow = allowedBy(o)
		}
		return o, allow, ""
	}
	return offer, nil, why
}

// offered returns the boards that may be booked at all, have labels and are in one of some cells (nil:
// anywhere): the project's own and those offered to it, each once, and which boards offers name.
func (ch *change) offered(b *booking, labels map[string]string, cells []geo.Range) ([]store.Bookable, map[s4t.OfferID]map[s4t.BoardID]bool, error) {
	all := map[s4t.BoardID]store.Bookable{}
	add := func(boards []store.Bookable, err error) error {
		for _, x := range boards {
			if len(labels) == 0 || (s4t.FleetRule{Labels: labels}).Matches(x.Labels, nil) {
				all[x.ID] = x
			}
		}
		return err
	}
	if err := add(ch.BookableOf(b.caller.Project, labels, cells)); err != nil {
		return nil, nil, err
	}
	named := map[s4t.OfferID]map[s4t.BoardID]bool{}
	var ids []s4t.BoardID
	for _, o := range b.offers {
		of, err := ch.OfferNamed(o)
		if err != nil {
			return nil, nil, err
		}
		named[o.ID] = map[s4t.BoardID]bool{}
		for _, id := range of {
			named[o.ID][id] = true
		}
		ids = append(ids, of...)
		if len(o.Labels) > 0 {
			both := maps.Clone(labels)
			if both == nil {
				both = map[string]string{}
			}
			clash := false
			for k, v := range o.Labels {
				if have, ok := both[k]; ok && have != v {
					clash = true
				}
				both[k] = v
			}
			if !clash {
				if err := add(ch.BookableOf(o.Project, both, cells)); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	slices.Sort(ids)
	if err := add(ch.BookableByID(slices.Compact(ids))); err != nil {
		return nil, nil, err
	}
	boards := slices.Collect(maps.Values(all))
	slices.SortFunc(boards, func(a, b store.Bookable) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return boards, named, nil
}

// judge fills in what becomes of the calendars of boards.
func (ch *change) judge(b *booking, boards []bookable) error {
	ids := make([]s4t.BoardID, len(boards))
	for i, x := range boards {
		ids[i] = x.ID
	}
	calendars, err := ch.Calendars(ids, earliest(ch.now, b.window.From))
	if err != nil {
		return err
	}
	for i := range boards {
		x := &boards[i]
		c := calendars[x.ID]
		x.verdict = c.Decide(lease.Entry{Window: b.window, Priority: b.prio, Shared: x.offer.Shared}, ch.now.Truncate(time.Microsecond))
		x.free = s4t.MaxLease
		for _, e := range c {
			if !e.Window.From.Before(b.window.Until) {
				x.free = min(x.free, e.Window.From.Sub(b.window.From))
			}
		}
	}
	return nil
}

// nearness is where boards are wanted; its zero value is anywhere.
type nearness struct {
	place  *s4t.Location
	within float64 // kilometres
}

// near is what a request says of it; 0 kilometres are as many as a fleet has that does not say.
func near(place *s4t.Location, within float64) nearness {
	return nearness{place, cmp.Or(within, s4t.DefaultWithin)}
}

// cells are where such boards are, for an index.
func (n nearness) cells() []geo.Range {
	if n.place == nil {
		return nil
	}
	return geo.Around(*n.place, n.within)
}

// of is how far a board is from there; ok is false where that is too far, or not known.
func (n nearness) of(at *s4t.Location) (kilometres float64, ok bool) {
	if n.place == nil {
		return 0, true
	}
	if at == nil {
		return 0, false
	}
	kilometres = n.place.Kilometres(*at)
	return kilometres, kilometres <= n.within
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
