package conductor

import (
	"cmp"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// fitting is a board that may be booked, and how well it fits as far as that is known without its
// calendar.
type fitting struct {
	bookable
	kilometres float64
}

// chooseFitting are as many boards as are wanted, those that fit best; those for which nobody
// has to yield first. Calendars are looked at from the best boards on, as far as is needed.
func (ch *change) chooseFitting(b *booking, req wire.LeaseCreate, boards []store.Bookable, named map[s4t.OfferID]map[s4t.BoardID]bool) ([]bookable, error) {
	wanted := near(req.Near, req.Within)
	var some []fitting
	why := ""
	for _, x := range boards {
		km, ok := wanted.of(x.Location)
		if !ok {
			continue
		}
		offer, allow, no := b.by(x, named)
		if no != "" {
			why = no
			continue
		}
		some = append(some, fitting{bookable{Bookable: x, offer: offer, allow: allow}, km})
	}
	slices.SortStableFunc(some, func(x, y fitting) int { return lease.Closer(x.candidate(), y.candidate()) })

	byID := map[s4t.BoardID]bookable{}
	var free, yielding []lease.Candidate
	for len(some) > 0 && len(free) < req.Count {
		n := min(max(req.Count-len(free), 100), len(some))
		for n < len(some) && lease.Closer(some[n-1].candidate(), some[n].candidate()) == 0 {
			n++ // who fits as well, as far as is known
		}
		if err := ch.candidates(b, req.Pin, some[:n], byID, &free, &yielding); err != nil {
			return nil, err
		}
		some = some[n:]
	}
	best := lease.Fit(free, req.Count)
	best = append(best, lease.Fit(yielding, req.Count-len(best))...)
	if len(best) < req.Count && !(req.Partial && len(best) > 0) {
		return nil, s4t.Errorf(s4t.Conflict, b.op, "ask for fewer, another time, or take what there is (--partial)", "%d boards match and are free, %d are wanted: %s",
			len(best), req.Count, cmp.Or(why, "the others are booked, or do not match"))
	}
	chosen := make([]bookable, len(best))
	for i, f := range best {
		chosen[i] = byID[f.Board]
	}
	return chosen, nil
}

func (f fitting) candidate() lease.Candidate {
	return lease.Candidate{Board: f.ID, Name: f.Name, Online: f.Online, Kilometres: f.kilometres}
}

// candidates looks at the calendars of some boards, as far as they have a pin like that, and adds those that
// are free and those for which others have to yield.
func (ch *change) candidates(b *booking, pin string, some []fitting, byID map[s4t.BoardID]bookable, free, yielding *[]lease.Candidate) error {
	var judged []bookable
	var ids []s4t.BoardID
	var near []fitting
	for _, x := range some {
		if pin != "" {
			if has, err := hasPin(ch.Tx, x.ID, pin); err != nil {
				return err
			} else if !has {
				continue
			}
		}
		judged, ids, near = append(judged, x.bookable), append(ids, x.ID), append(near, x)
	}
	if err := ch.judge(b, judged); err != nil {
		return err
	}
	used, err := ch.Booked(ids, ch.now.Add(-usedFor), ch.now)
	if err != nil {
		return err
	}
	for i, x := range judged {
		byID[x.ID] = x
		c := near[i].candidate()
		c.FreeFor, c.Used = x.free, used[x.ID]
		switch {
		case len(x.verdict.Against) > 0:
		case len(x.verdict.Yield) > 0:
			*yielding = append(*yielding, c)
		default:
			*free = append(*free, c)
		}
	}
	return nil
}
