package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Sessions that ended with their agent: the agent's row says so at once, for all
// of them. Upkeep does the rest, when there is time: it tells of them, in one
// event a project, and writes the boards off that do not come back.

// returnTime is how long boards have to come back to an agent that was started
// anew, before each is written off: the longest window that they spread their
// return over, and a quarter more.
const returnTime = maxReturn + maxReturn/4

// writeOff does what is still to be done about lost sessions. A silent agent has
// ended its sessions itself when its lease is over; where the clock jumped, or
// this process has just begun, its time counts from then. upkept.mu is held.
func (c *Conductor) writeOff(ctx context.Context) error {
	var now time.Time
	agents, err := view(ctx, c, func(tx *store.Tx) ([]store.Agent, error) { now = tx.Now(); return tx.Agents() })
	if err != nil {
		return err
	}
	for _, a := range agents {
		if a.Lost == store.LostNone || a.Kind != wire.AgentWAMP {
			continue
		}
		if a.Lost == store.LostNew {
			if err := c.tellLost(ctx, a); err != nil {
				return err
			}
		}
		over := a.Online && now.Sub(a.Since) >= returnTime || !a.Online && now.After(a.LeaseUntil) && now.Sub(c.upkept.grace) > agentLease
		if !over && !a.Online {
			continue // it may come back, and they with it
		}
		if err := c.eachLost(ctx, a, over); err != nil {
			return err
		}
		if over {
			if err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.SetAgentLost(a, store.LostNone) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellLost tells each project how many of its boards lost their sessions with an
// agent.
func (c *Conductor) tellLost(ctx context.Context, a store.Agent) error {
	counts, err := view(ctx, c, func(tx *store.Tx) (map[s4t.ProjectID]int, error) { return tx.CountLost(a) })
	if err != nil {
		return err
	}
	return c.change(ctx, func(ch *change) error {
		now, err := ch.LockAgent(a.ID)
		if err != nil || now.Lost != store.LostNew || now.Incarnation != a.Incarnation || now.Online != a.Online {
			return err // it went on meanwhile
		}
		for project, n := range counts {
			ch.event(s4t.Event{Kind: "agent.away", Project: project, Object: string(a.ID), Name: string(a.ID),
				Detail: fmt.Sprintf("%d boards lost their sessions with their WAMP agent", n), Data: wire.Encode(map[string]int{"boards": n})})
		}
		return ch.SetAgentLost(now, store.LostStill)
	})
}

// eachLost writes off the boards of lost sessions, so many to a transaction;
// where they may still come back, only what they said that they have: it went
// with the session.
func (c *Conductor) eachLost(ctx context.Context, a store.Agent, over bool) error {
	for last := s4t.BoardID(""); ; {
		ids, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.LostSessions(a, !over, last, batch) })
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]
		err = c.change(ctx, func(ch *change) error {
			boards, err := ch.LockedBoards(ids)
			for _, b := range boards {
				if b.WAMPAgent != a.ID || b.Ended == store.EndedNot {
					continue // it came back meanwhile
				}
				if !over {
					_, err = ch.silent(boardOf(b.ID), wire.MaxResources)
				} else {
					out := lostOutage(a, b.Ended)
					b.WAMPAgent, b.Incarnation = "", ""
					err = ch.setOffline(b, out)
				}
				if err != nil {
					return err
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}
