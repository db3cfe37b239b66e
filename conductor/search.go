package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxFound bounds the boards that a search answers with; it says where there are more.
const maxFound = 1000

// boardSearch finds boards that the caller's project may book: its own and those that are offered to
// it, the nearest first where a place is given.
func (c *Conductor) boardSearch(ctx context.Context, req wire.BoardSearch) (wire.List[s4t.FoundBoard], error) {
	const op = "search boards"
	found := wire.List[s4t.FoundBoard]{Items: []s4t.FoundBoard{}}
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return found, err
	}
	if err := checkPlace(req.Near); err != nil {
		return found, err
	}
	var area *geo.Area
	cells := near(req.Near, req.Within).cells()
	if len(req.Area) > 0 {
		a, err := geo.ParseArea(req.Area)
		if err != nil {
			return found, err
		}
		if area = &a; cells == nil {
			cells = a.Cells()
		}
	}
	if err := checkPinPattern(op, req.Pin); err != nil {
		return found, err
	}
	return view(ctx, c, func(tx *store.Tx) (wire.List[s4t.FoundBoard], error) {
		found.Items = []s4t.FoundBoard{}
		ch := &change{Tx: tx, c: c}
		ch.byDatabase()
		window, err := windowOf(op, req.From, req.For, ch.now)
		if err != nil {
			return found, err
		}
		b, err := ch.newBooking(op, req.Caller, window, nil, 0)
		if err != nil {
			return found, err
		}
		if found.EventID, err = tx.LastEvent(); err != nil {
			return found, err
		}
		boards, named, err := ch.offered(b, req.Labels, cells)
		if err != nil {
			return found, err
		}
		members, err := membersOf(tx, req.Caller, op, req.Fleet)
		if err != nil {
			return found, err
		}
		if members != nil {
			boards = slices.DeleteFunc(boards, func(x store.Bookable) bool { return !members[x.ID] })
		}
		some, err := ch.searched(b, req, area, boards, named)
		if err != nil {
			return found, err
		}
		return found, ch.whenFree(b, req, some, &found.Items)
	})
}

// searched are those of boards that are meant by their place and pins, and may be booked at all.
func (ch *change) searched(b *booking, req wire.BoardSearch, area *geo.Area, boards []store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool) ([]bookable, error) {
	wanted := near(req.Near, req.Within)
	var some []bookable
	for _, x := range boards {
		if _, ok := wanted.of(x.Location); !ok {
			continue
		}
		if area != nil && (x.Location == nil || !area.Has(*x.Location)) {
			continue
		}
		offer, allow, why := b.by(x, named)
		if why != "" {
			continue
		}
		if req.Pin != "" {
			if has, err := hasPin(ch.Tx, x.ID, req.Pin); err != nil {
				return nil, err
			} else if !has {
				continue
			}
		}
		some = append(some, bookable{Bookable: x, offer: offer, allow: allow})
	}
	return some, nil
}

// checkPinPattern checks what is said of pins that boards have to have; empty: nothing.
func checkPinPattern(op, pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || len(pattern) > 3*s4t.MaxName {
		return s4t.Errorf(s4t.Invalid, op, "use * ? and [a-z], as in gpio/*", "%q is no pattern of pins", s4t.Line(pattern, s4t.MaxName))
	}
	return nil
}

// hasPin reports whether a board has, by the cloud's copy, a pin with a name or a label like that.
func hasPin(tx *store.Tx, board s4t.BoardID, pattern string) (bool, error) {
	kept, err := tx.BoardPins(board)
	if err != nil || len(kept.Pins) == 0 {
		return false, err
	}
	var pins []s4t.Pin
	if err := json.Unmarshal(kept.Pins, &pins); err != nil {
		return false, s4t.Errorf(s4t.Internal, fmt.Sprintf("search the pins of board %q", board), "", "the copy of them is not understood: %w", err)
	}
	return slices.ContainsFunc(pins, func(p s4t.Pin) bool {
		name, _ := path.Match(pattern, p.Name)
		label, _ := path.Match(pattern, p.Label)
		return name || label
	}), nil
}

// whenFree says of boards when they are free next for as long as is wanted; where a time is wanted,
// those that are not free then are left out.
func (ch *change) whenFree(b *booking, req wire.BoardSearch, some []bookable, out *[]s4t.FoundBoard) error {
	ids := make([]s4t.BoardID, len(some))
	for i, x := range some {
		ids[i] = x.ID
	}
	calendars, err := ch.Calendars(ids, earliest(ch.now, b.window.From))
	if err != nil {
		return err
	}
	for _, x := range some {
		f := s4t.FoundBoard{ID: x.ID, Name: x.Name, Project: x.Project, Online: x.Online, Labels: x.Labels, Location: x.Location, Offer: x.offer.ID, Allow: x.allow.Words()}
		if req.Near != nil {
			km := req.Near.Kilometres(*x.Location)
			f.Kilometres = &km
		}
		horizon := b.window.From.Add(31*24*time.Hour + b.window.For())
		w, ok := calendars[x.ID].FirstFree(lease.Entry{Shared: x.offer.Shared}, b.window.For(), b.window.From, horizon, b.hours[x.offer.ID])
		if req.From != nil && (!ok || !w.From.Equal(b.window.From)) {
			continue
		}
		if ok {
			w.From = onTheSecond(w.From)
			f.FreeFrom = &w.From
		}
		*out = append(*out, f)
	}
	if req.Near != nil {
		slices.SortStableFunc(*out, func(x, y s4t.FoundBoard) int {
			switch {
			case *x.Kilometres < *y.Kilometres:
				return -1
			case *x.Kilometres > *y.Kilometres:
				return 1
			}
			return 0
		})
	}
	if len(*out) > maxFound {
		return s4t.Errorf(s4t.TooMany, b.op, "ask for labels or a place (--label, --near)", "%d boards are found, at most %d are told", len(*out), maxFound)
	}
	return nil
}
