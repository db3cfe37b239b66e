package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// boardHealth takes how a board is, as it says.
func (c *Conductor) boardHealth(ctx context.Context, req wire.HealthReport) (wire.HealthHeard, error) {
	return c.healths.do(ctx, req)
}

// heldFor is what a board is told whose report the database has.
const heldFor = int(s4t.HealthHold / time.Second)

// hearHealths takes reports that come together. One that says what the database has is
// not written: a board that says nothing else is so. Where many boards are, the others are
// written later, and are to be said again until then.
func (c *Conductor) hearHealths(ctx context.Context, reqs []wire.HealthReport) []outcome[wire.HealthHeard] {
	out := make([]outcome[wire.HealthHeard], len(reqs))
	held, err := c.heldHealths(ctx, reqs)
	if err != nil {
		for i := range out {
			out[i].err = err
		}
		return out
	}
	var news []wire.HealthReport
	var at []int // of news, in reqs
	for i, r := range reqs {
		switch {
		case held[i]:
			out[i].reply.Hold = heldFor
		case c.healthWait() > 0 && c.later.put(r):
		default:
			news, at = append(news, r), append(at, i)
		}
	}
	if len(news) == 0 {
		return out
	}
	for i, o := range c.takeHealths(ctx, news) {
		out[at[i]] = o
	}
	return out
}

// heldHealths reports which reports say what the database has.
func (c *Conductor) heldHealths(ctx context.Context, reqs []wire.HealthReport) ([]bool, error) {
	now := c.now()
	return view(ctx, c, func(tx *store.Tx) ([]bool, error) {
		held := make([]bool, len(reqs))
		if _, err := c.fleet.boards(tx, now); err != nil { // see healthWait
			return nil, err
		}
		ids := boardsOf(reqs)
		boards, err := tx.LockedBoards(ids)
		if err != nil {
			return nil, err
		}
		known, err := tx.Healths(ids)
		if err != nil {
			return nil, err
		}
		at := byID(boards)
		for i, r := range reqs {
			h, ok := known[r.Board]
			if age := now.Sub(h.ReportedAt); !ok || at[r.Board] == nil || age < 0 || age >= s4t.HealthHold || current("", at[r.Board], r.Epoch) != nil {
				continue
			}
			was, err := healthOf("", h.Health)
			held[i] = err == nil && !r.Health.Clamp().Differs(*was)
		}
		return held, nil
	})
}

// boardsOf are the boards of reports, each once, by id.
func boardsOf(reqs []wire.HealthReport) []s4t.BoardID {
	ids := make([]s4t.BoardID, len(reqs))
	for i, r := range reqs {
		ids[i] = r.Board
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// takeHealths writes reports that come together, in one transaction; where that fails,
// one by one.
func (c *Conductor) takeHealths(ctx context.Context, reqs []wire.HealthReport) []outcome[wire.HealthHeard] {
	out := make([]outcome[wire.HealthHeard], len(reqs))
	err := c.change(ctx, func(ch *change) error {
		clear(out)
		return ch.takeHealths(reqs, out)
	})
	return eachAlone(ctx, reqs, out, err, c.takeHealths)
}

// takeHealths is that transaction. Of a board that reported twice the later report
// counts.
func (ch *change) takeHealths(reqs []wire.HealthReport, out []outcome[wire.HealthHeard]) error {
	last := map[s4t.BoardID]int{}
	for i, r := range reqs {
		last[r.Board] = i
	}
	ids := boardsOf(reqs)
	boards, err := ch.LockedBoards(ids)
	if err != nil {
		return err
	}
	at := byID(boards)
	known, err := ch.Healths(ids)
	if err != nil {
		return err
	}
	var all []store.BoardHealth
	var fresh []s4t.BoardID // whose ring gets a point
	for i, r := range reqs {
		op := fmt.Sprintf("take how board %q is", r.Board)
		b := at[r.Board]
		if b == nil {
			out[i].err = s4t.Errorf(s4t.NotFound, op, "", "it does not exist")
			continue
		}
		if err := current(op, b, r.Epoch); err != nil {
			out[i].err = err
			continue
		}
		out[i].reply.Hold = heldFor
		if last[r.Board] != i {
			continue
		}
		text, err := json.Marshal(r.Health.Clamp())
		if err != nil {
			out[i].err = s4t.Errorf(s4t.Invalid, op, "", "it cannot be written: %w", err)
			continue
		}
		h := known[r.Board]
		h.Board, h.Health, h.ReportedAt = r.Board, text, ch.now
		if h.Slot != store.HealthSlot(ch.now) {
			fresh = append(fresh, r.Board)
		}
		all = append(all, h)
	}
	slices.Sort(fresh)
	rings, err := ch.HealthRings(fresh)
	if err != nil {
		return err
	}
	away, err := ch.awaySince(rings)
	if err != nil {
		return err
	}
	for i, h := range all {
		if h.Slot == store.HealthSlot(ch.now) {
			continue
		}
		if was := rings[h.Board]; was.Health != nil {
			said, err := healthOf("read how a board was", was.Health)
			if err != nil {
				return err
			}
			was.Hold(ch.now.Add(-s4t.HealthStep), *said, away[h.Board])
			h.Ring, h.Slot = was.Ring, was.Slot
		}
		h.Add(ch.now, reqs[last[h.Board]].Health.Clamp())
		all[i] = h
	}
	slices.SortFunc(all, func(a, b store.BoardHealth) int { return slices.Compare([]byte(a.Board), []byte(b.Board)) })
	return ch.SetHealths(all)
}

// awaySince are the outages of boards since they said how they are, of those whose rings have
// points to be filled.
func (ch *change) awaySince(rings map[s4t.BoardID]store.BoardHealth) (map[s4t.BoardID][]s4t.Outage, error) {
	var ids []s4t.BoardID
	since := ch.now
	for id, h := range rings {
		if h.Slot < store.HealthSlot(ch.now)-1 {
			ids = append(ids, id)
			since = earlier(since, h.ReportedAt)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	slices.Sort(ids)
	if oldest := ch.now.Add(-2 * s4t.HealthHold); since.Before(oldest) { // no point before is filled
		since = oldest
	}
	return ch.OutagesSince(ids, since)
}

// earlier is the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// healthGet answers with how a board is and was.
func (c *Conductor) healthGet(ctx context.Context, req wire.RefRequest) (s4t.BoardHealth, error) {
	op := fmt.Sprintf("show how board %q is", s4t.Line(req.Ref, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.BoardHealth{}, err
	}
	now := c.now()
	return view(ctx, c, func(tx *store.Tx) (s4t.BoardHealth, error) {
		b, _, err := findBoard(tx, req.Caller, op, wire.MethodHealthGet, req.Ref)
		if err != nil {
			return s4t.BoardHealth{}, err
		}
		out := s4t.BoardHealth{Board: b.Name, BoardID: b.ID, Status: b.Status, Outages: []s4t.Outage{}}
		h, err := tx.BoardHealth(b.ID)
		if err != nil {
			return out, err
		}
		outages, err := outagesOf(tx, b)
		if err != nil {
			return out, err
		}
		if h.Health != nil {
			said, err := healthOf(op, h.Health)
			if err != nil {
				return out, err
			}
			at := h.ReportedAt
			switch {
			case b.Status == s4t.BoardOnline:
				h.Hold(now, *said, outages)
				*said, at = said.After(at, now)
			case len(outages) > 0 && outages[0].Ended == nil:
				h.Hold(outages[0].Began, *said, outages)
			}
			out.Health, out.At, out.History = said, &at, h.History(now)
		}
		if out.Availability, err = availability(tx, b, outages, now); err != nil {
			return out, err
		}
		out.Outages = append(out.Outages, outages[:min(len(outages), wire.MaxOutagesOfStatus)]...)
		return out, nil
	})
}

// healthOf decodes the copy of how a board is.
func healthOf(op string, text json.RawMessage) (*s4t.Health, error) {
	h := new(s4t.Health)
	if err := json.Unmarshal(text, h); err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "the copy of it is not understood: %w", err)
	}
	return h, nil
}

// healthAll answers with how boards are, in figures.
func (c *Conductor) healthAll(ctx context.Context, req wire.HealthAsk) (wire.HealthMetrics, error) {
	const op = "read the metrics of boards"
	m := wire.HealthMetrics{Boards: []wire.BoardMetrics{}}
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return m, err
	}
	now := c.now()
	_, err := view(ctx, c, func(tx *store.Tx) (_ struct{}, err error) {
		project := scope(req.Caller)
		if req.Project != "" {
			p, err := tx.Project(req.Project)
			if s4t.KindOf(err) == s4t.NotFound || err == nil && !req.Caller.Sees(p.ID) {
				return struct{}{}, s4t.Errorf(s4t.NotFound, op, "`s4t project list` shows what there is", "project %q does not exist", s4t.Line(req.Project, s4t.MaxName))
			}
			if err != nil {
				return struct{}{}, err
			}
			project = p.ID
		}
		list, err := tx.Boards(project, "", req.Labels, req.Page)
		if err != nil {
			return struct{}{}, err
		}
		ids := make([]s4t.BoardID, len(list.Items))
		for i, b := range list.Items {
			ids[i] = b.ID
		}
		known, err := tx.Healths(ids)
		if err != nil {
			return struct{}{}, err
		}
		m.Next = list.Next
		for _, b := range list.Items {
			one := wire.BoardMetrics{ID: b.ID, Name: b.Name, Project: b.Project, Status: b.Status}
			if h, ok := known[b.ID]; ok {
				if one.Health, err = healthOf(op, h.Health); err != nil {
					return struct{}{}, err
				}
				one.At = h.ReportedAt
				if b.Status == s4t.BoardOnline {
					*one.Health, one.At = one.Health.After(one.At, now)
				}
			}
			m.Boards = append(m.Boards, one)
		}
		return struct{}{}, nil
	})
	return m, err
}

// trimOutages forgets outages of which nothing is asked any more.
func (c *Conductor) trimOutages(ctx context.Context) error {
	for n := int64(batch); n == batch; {
		before := c.now().Add(-s4t.OutageWindow)
		if err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.TrimOutages(before, batch)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// ago is how long something is past; not negative.
func ago(t, now time.Time) time.Duration { return max(now.Sub(t), 0) }
