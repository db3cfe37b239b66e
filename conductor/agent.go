package conductor

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// agentTimeout is how long an agent may be silent before what it holds is
	// taken for away; it beats every 5 s.
	agentTimeout = 10 * time.Second
	// agentLease is how long it may serve without being heard: tunnels outlive a
	// conductor that restarts.
	agentLease = 30 * time.Second
)

// fenced checks that a message comes from the incarnation that has an agent's
// id. One that another took the place of is told so, for good; one that is not
// known (the agent's first word was lost, the database is from a backup) has to
// say hello.
func fenced(op string, a store.Agent, incarnation string) error {
	switch {
	case a.ID != "" && a.Incarnation == incarnation:
		return nil
	case a.ID != "" && incarnation != "" && a.Replaced == incarnation:
		return s4t.Errorf(s4t.Conflict, op, "give every agent an id of its own", "another agent with the id %q has taken its place", a.ID)
	}
	return s4t.Errorf(s4t.Unavailable, op, "say hello first", "this incarnation is not known")
}

// agentHello takes an agent in that starts. A new incarnation has forgotten
// the sessions and ports of the one before: they are over. That sessions are is
// said by the agent's row alone, however many there were: an agent that starts
// waits for nothing (see writeOff for the rest).
func (c *Conductor) agentHello(ctx context.Context, req wire.AgentHello) (wire.AgentWelcome, error) {
	op := fmt.Sprintf("admit agent %q", req.ID)
	if req.ID == "" || req.Incarnation == "" || req.Kind != wire.AgentWAMP && req.Kind != wire.AgentTunnel {
		return wire.AgentWelcome{}, s4t.Errorf(s4t.Invalid, op, "", "id, incarnation and kind are required")
	}
	if s4t.IsID(string(req.ID)) {
		return wire.AgentWelcome{}, s4t.Errorf(s4t.Invalid, op, "give it a name", "its id has the form of a board's")
	}
	fresh, moved := false, false
	err := c.change(ctx, func(ch *change) error {
		was, err := ch.LockAgent(req.ID)
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		if was.Replaced == req.Incarnation {
			return fenced(op, was, req.Incarnation)
		}
		now := was
		now.ID, now.Kind, now.Incarnation, now.URL, now.Host, now.PublicPorts = req.ID, req.Kind, req.Incarnation, req.URL, req.Host, req.PublicPorts
		now.Place, now.Version, now.Peers = s4t.Line(req.Place, s4t.MaxName), s4t.Line(req.Version, s4t.MaxName), req.Peers
		fresh = was.Incarnation != req.Incarnation
		moved = req.Kind == wire.AgentTunnel && was.ID != "" && (was.URL != req.URL)
		if fresh {
			if err := ch.ForgetUse(req.ID); err != nil {
				return err
			}
			now.Replaced, now.Applied, now.ReportSeq, now.Online, now.Since = was.Incarnation, 0, 0, req.Kind == wire.AgentWAMP, ch.Now()
			if err := ch.lose(&now); err != nil {
				return err
			}
		} else {
			now.Online = true
		}
		ch.beat(&now)
		ch.heard[string(req.ID)] = true
		return ch.PutAgent(now)
	})
	if err == nil && fresh && req.Kind == wire.AgentTunnel {
		// What the one before had is over, in steps; then this one is there.
		if err = c.emptied(ctx, req.ID); err == nil {
			err = c.change(ctx, func(ch *change) error {
				a, err := ch.LockAgent(req.ID)
				if err == nil {
					err = fenced(op, a, req.Incarnation)
				}
				if err != nil {
					return err
				}
				a.Online = true
				ch.heard[string(a.ID)] = true
				return ch.PutAgent(a)
			})
		}
	}
	if err == nil && moved {
		err = c.wantAll(ctx) // boards are told where to dial
	}
	if err == nil && fresh && req.Kind == wire.AgentWAMP {
		if err := c.cfg.Queue.Fanout(ctx, wire.TopicAgents, wire.MethodAgentsCame, wire.Empty{}); err != nil {
			c.cfg.Log.InfoContext(ctx, "other conductors hear later that an agent has come", "agent", req.ID, "err", err)
		}
	}
	return wire.AgentWelcome{TicketKey: c.ticketKey(), Lease: agentLease}, err
}

// beat notes that an agent was heard.
func (ch *change) beat(a *store.Agent) {
	a.SeenAt = ch.Now()
	a.LeaseUntil = a.SeenAt.Add(agentLease)
}

// ticketKey is the public half of the key that signs tickets.
func (c *Conductor) ticketKey() ed25519.PublicKey {
	return c.cfg.TicketKey.Public().(ed25519.PublicKey)
}

// lose notes that the sessions of a WAMP agent are over, or taken for over, and
// looks at the operations that waited for their boards.
func (ch *change) lose(a *store.Agent) error {
	if a.Kind != wire.AgentWAMP {
		return nil
	}
	a.Lost = store.LostNew
	awaited, err := ch.AwaitedSessions(a.ID)
	for _, board := range awaited {
		ch.heard[board] = true
	}
	return err
}

// agentBeat hears that an agent is still there. Sessions of an agent that was
// silent for too long, and is the same as before, are live again: its row says
// so.
func (c *Conductor) agentBeat(ctx context.Context, req wire.AgentBeat) (wire.AgentLease, error) {
	op := fmt.Sprintf("take the beat of agent %q", req.ID)
	if len(req.Use) > wire.MaxPage {
		return wire.AgentLease{}, s4t.Errorf(s4t.TooMany, op, "tell them in parts", "it speaks of %d uses, at most %d are allowed", len(req.Use), wire.MaxPage)
	}
	var drained store.Agent // a WAMP agent that is to be emptied
	err := c.change(ctx, func(ch *change) error {
		a, err := ch.LockAgent(req.ID)
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		if err := fenced(op, a, req.Incarnation); err != nil {
			return err
		}
		if drained = (store.Agent{}); a.Kind == wire.AgentWAMP && a.Drain != store.DrainNot {
			drained = a
		}
		back := !a.Online
		a.Online = true
		ch.beat(&a)
		if back {
			ch.heard[string(a.ID)] = true
			if a.Kind == wire.AgentTunnel {
				ch.wakeAgent(a)
			}
		}
		if err := ch.SetUse(a.ID, req.Use); err != nil {
			return err
		}
		if !back {
			return ch.Beat(a)
		}
		return ch.PutAgent(a)
	})
	lease := wire.AgentLease{Lease: agentLease}
	if err == nil && drained.ID != "" {
		lease.Elsewhere, err = view(ctx, c, func(tx *store.Tx) ([]wire.Elsewhere, error) {
			agents, err := tx.Agents()
			if err != nil {
				return nil, err
			}
			carried, err := tx.Carried()
			return elsewhereOf(agents, carried, drained), err
		})
	}
	return lease, err
}

// expireAgents marks the agents that were silent for too long, and what they
// held, as away.
func (c *Conductor) expireAgents(ctx context.Context) error {
	silent, err := view(ctx, c, func(tx *store.Tx) ([]store.Agent, error) {
		limit := tx.Now().Add(-agentTimeout)
		agents, err := tx.Agents()
		return slices.DeleteFunc(agents, func(a store.Agent) bool { return !a.SeenAt.Before(limit) }), err
	})
	if err != nil {
		return err
	}
	for _, a := range silent {
		if a.Online {
			c.cfg.Log.Warn("an agent is silent", "agent", a.ID, "since", a.SeenAt)
		}
		err := c.change(ctx, func(ch *change) error {
			now, err := ch.LockAgent(a.ID)
			if err != nil || !now.Online || now.SeenAt.After(a.SeenAt) {
				return err
			}
			now.Online, now.Applied = false, 0
			ch.heard[string(a.ID)] = true
			if err := ch.lose(&now); err != nil {
				return err
			}
			return ch.PutAgent(now)
		})
		if err != nil {
			return err
		}
		if a.Kind == wire.AgentWAMP {
			continue
		}
		// One that ended in the midst of this goes on here in the next round.
		if err := c.emptied(ctx, a.ID); err != nil {
			return err
		}
	}
	return nil
}

// emptied writes that a tunnel agent holds nothing any more.
func (c *Conductor) emptied(ctx context.Context, agent s4t.AgentID) error {
	for left := true; left; {
		err := c.change(ctx, func(ch *change) (err error) {
			if _, err := ch.LockAgent(agent); err != nil {
				return err
			}
			left, err = ch.silent(agentOf(agent), batch)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
