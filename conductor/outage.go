package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// An outage begins where a board loses its session, and ends with its next one: then
// it is known why.

// lostSince is when a session ended that nobody wrote off, of an agent.
func lostSince(a store.Agent, ended store.Ended) time.Time {
	if ended == store.EndedReplaced {
		return a.Since
	}
	return a.SeenAt
}

// lostOutage is the outage of a board whose session ended with its agent.
func lostOutage(a store.Agent, ended store.Ended) s4t.Outage {
	return s4t.Outage{Began: lostSince(a, ended), Reason: s4t.OutageCloud, Detail: "its WAMP agent is away"}
}

// beginOutage writes an outage that lasts. The board is locked.
func (ch *change) beginOutage(b store.Board, o s4t.Outage) error {
	if err := ch.PutOutages([]store.Outage{{Board: b.ID, Outage: o}}); err != nil {
		return err
	}
	return ch.TrimOutagesOf(b.ID, s4t.MaxOutages)
}

// endOutage ends the outage of a board that does not come back as it was.
func (ch *change) endOutage(id s4t.BoardID) error {
	open, err := ch.OpenOutages([]s4t.BoardID{id})
	if o, ok := open[id]; ok && err == nil {
		o.Ended = &ch.now
		err = ch.PutOutages([]store.Outage{o})
	}
	return err
}

// back are the outages that end with sessions which begin together.
type back struct {
	open  map[s4t.BoardID]store.Outage
	lost  map[s4t.AgentID]store.Agent // of sessions that ended with their agent
	ended []store.Outage
}

// returns notes that a board is back; b is as it was before.
func (ch *change) returns(k *back, b store.Board, req wire.BoardConnected) error {
	o, away := k.open[b.ID]
	switch {
	case b.Status == s4t.BoardRegistered:
		return ch.SetCame(b.ID, ch.now)
	case away:
		delete(k.open, b.ID)
	case b.Status == s4t.BoardOnline || b.Ended == store.EndedNot:
		return nil
	default:
		a, known := k.lost[b.WAMPAgent]
		if !known {
			var err error
			if a, err = ch.Agent(b.WAMPAgent); err != nil {
				return err
			}
			k.lost[b.WAMPAgent] = a
		}
		o = store.Outage{Board: b.ID, Outage: lostOutage(a, b.Ended)}
	}
	if !o.Began.Before(ch.now) {
		o.Began = ch.now // the clock went back
	}
	o.Ended, o.Reason = &ch.now, whyAway(o.Outage, ago(o.Began, ch.now), req.Instance != b.Instance, req.Uptime)
	k.ended = append(k.ended, o)
	return nil
}

// whyAway is why a board was away for a time: restarted is whether its lightning-rod
// is another than before, uptime how long the board runs, 0 where that is not known.
// A board that boots is missed only some time after it went.
func whyAway(o s4t.Outage, lasted time.Duration, restarted bool, uptime time.Duration) s4t.OutageReason {
	switch {
	case o.Reason == s4t.OutageCloud:
		return s4t.OutageCloud
	case restarted && uptime > 0 && uptime < lasted+s4t.PresenceTimeout:
		return s4t.OutagePower
	case restarted:
		return s4t.OutageAgent
	}
	return s4t.OutageLink
}

// outagesOf returns the outages of a board, newest first, also one that nobody wrote
// yet.
func outagesOf(tx *store.Tx, b store.Board) ([]s4t.Outage, error) {
	list, err := tx.Outages(b.ID, wire.Page{Limit: s4t.MaxOutages + 1})
	if err != nil {
		return nil, err
	}
	var all []s4t.Outage
	if b.Ended != store.EndedNot {
		a, err := tx.Agent(b.WAMPAgent)
		if err != nil {
			return nil, err
		}
		all = append(all, guessed(lostOutage(a, b.Ended)))
	}
	for _, o := range list.Items {
		all = append(all, guessed(o.Outage))
	}
	return all, nil
}

// guessed says of an outage that lasts that its reason is likely.
func guessed(o s4t.Outage) s4t.Outage {
	o.Likely = o.Ended == nil && o.Reason != s4t.OutageUnknown
	return o
}

// availability is which part of the last 30 days a board had a session, see
// s4t.BoardHealth; outages are all of it.
func availability(tx *store.Tx, b store.Board, outages []s4t.Outage, now time.Time) (*float64, error) {
	if b.Status == s4t.BoardRegistered {
		return nil, nil
	}
	since, err := tx.Came(b.ID)
	if err != nil {
		return nil, err
	}
	if since.IsZero() { // it came before the cloud kept that
		since = b.CreatedAt
	}
	part := availableSince(since, outages, now)
	return &part, nil
}

// availableSince does it from a time on; outages are the newest first.
func availableSince(since time.Time, outages []s4t.Outage, now time.Time) float64 {
	if oldest := now.Add(-s4t.OutageWindow); since.Before(oldest) {
		since = oldest
	}
	if n := len(outages); n >= s4t.MaxOutages && outages[n-1].Began.After(since) {
		since = outages[n-1].Began
	}
	window := now.Sub(since)
	if window <= 0 {
		return 1
	}
	var away time.Duration
	for _, o := range outages {
		began, ended := o.Began, now
		if o.Ended != nil {
			ended = *o.Ended
		}
		if began.Before(since) {
			began = since
		}
		away += max(ended.Sub(began), 0)
	}
	return max(1-float64(away)/float64(window), 0)
}

// outageList returns the outages of a board, newest first.
func (c *Conductor) outageList(ctx context.Context, req wire.OutageList) (wire.List[s4t.Outage], error) {
	op := fmt.Sprintf("list the outages of board %q", s4t.Line(req.Board, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.List[s4t.Outage]{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (wire.List[s4t.Outage], error) {
		b, _, err := findBoard(tx, req.Caller, op, wire.MethodOutageList, req.Board)
		if err != nil {
			return wire.List[s4t.Outage]{}, err
		}
		list, err := tx.Outages(b.ID, req.Page)
		out := wire.List[s4t.Outage]{Items: []s4t.Outage{}, Next: list.Next, EventID: list.EventID}
		for _, o := range list.Items {
			out.Items = append(out.Items, guessed(o.Outage))
		}
		return out, err
	})
}
