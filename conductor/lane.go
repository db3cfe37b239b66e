package conductor

import (
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// lanesOf notes which of the steps that each board takes by itself have been taken by now, and
// reports whether that, or what keeps a board, is other than it was.
func lanesOf(was []s4t.Lane, awaits []store.Await, now time.Time) (lanes []s4t.Lane, moved bool) {
	type part struct {
		lane         s4t.Lane
		told, has    time.Time
		board, agent bool // something of it is waited for there
		up, attached bool // all of it is
	}
	parts := map[s4t.BoardID]*part{}
	var order []s4t.BoardID
	of := func(id s4t.BoardID, name string) *part {
		p := parts[id]
		if p == nil {
			if len(order) >= s4t.MaxLanes {
				return nil
			}
			p = &part{lane: s4t.Lane{BoardID: id, Board: name, Steps: []s4t.LaneStep{}}, up: true, attached: true}
			parts[id] = p
			order = append(order, id)
		}
		return p
	}
	for _, l := range was {
		if p := of(l.BoardID, l.Board); p != nil {
			p.lane = l
			p.lane.Problem = ""
		}
	}
	for _, a := range awaits {
		id, name := a.Board, a.BoardName
		if a.OnBoard {
			id, name = s4t.BoardID(a.Holder), a.HolderName
		}
		if id == "" {
			continue // it is the network's
		}
		p := of(id, name)
		if p == nil {
			continue
		}
		up := a.There && a.Applied >= a.Generation && (a.Kind == "" || a.Up)
		if a.OnBoard {
			p.board, p.up = true, p.up && up
			p.told, p.has = later(p.told, a.ToldAt), later(p.has, a.ReceivedAt)
		} else {
			p.agent, p.attached = true, p.attached && up
		}
		if !up && p.lane.Problem == "" {
			if p.lane.Problem = a.Problem; !a.There {
				p.lane.Problem = "it is away, and gets it when it comes"
			}
		}
	}
	for _, id := range order {
		p := parts[id]
		take := func(number int, done bool, at time.Time) {
			if done && !slices.ContainsFunc(p.lane.Steps, func(s s4t.LaneStep) bool { return s.Number == number }) {
				p.lane.Steps = append(slices.Clip(p.lane.Steps), s4t.LaneStep{Number: number, At: at})
			}
		}
		take(stepTell, !p.told.IsZero(), p.told)
		take(stepReceive, !p.has.IsZero(), p.has)
		take(stepBoard, p.board && p.up, now)
		take(stepAgent, p.agent && p.attached, now)
		slices.SortFunc(p.lane.Steps, func(a, b s4t.LaneStep) int { return a.Number - b.Number })
		lanes = append(lanes, p.lane)
	}
	moved = !slices.EqualFunc(was, lanes, func(a, b s4t.Lane) bool {
		return a.BoardID == b.BoardID && a.Problem == b.Problem && len(a.Steps) == len(b.Steps)
	})
	return lanes, moved
}
