package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Agents as an operator sees them.

// shownAgent is an agent as an admin sees it.
func shownAgent(a store.Agent, has store.Carried) s4t.Agent {
	shown := s4t.Agent{
		ID: a.ID, Role: a.Kind, Status: a.Status(), Place: a.Place, URL: a.URL, Version: a.Version,
		Boards: has.Boards, Networks: has.Networks, Services: has.Services, Fixed: has.Fixed, SeenAt: a.SeenAt, Since: a.Since,
	}
	if a.Kind == wire.AgentTunnel {
		shown.Lag = max(a.Generation-a.Applied, 0)
		shown.Room = a.PublicPorts.Len()
	} else {
		shown.Room = agentRoom
	}
	return shown
}

// agentsList returns all agents.
func (c *Conductor) agentsList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Agent], error) {
	const op = "list agents"
	if err := allow(req.Caller, op, s4t.RoleAdmin); err != nil {
		return wire.List[s4t.Agent]{}, err
	}
	return list(ctx, c, req.Caller, op, wire.Page{}, same[s4t.Agent], func(tx *store.Tx, _ wire.Page) (l wire.List[s4t.Agent], err error) {
		if l.EventID, err = tx.LastEvent(); err != nil {
			return l, err
		}
		agents, err := tx.Agents()
		if err != nil {
			return l, err
		}
		carried, err := tx.Carried()
		for _, a := range agents {
			l.Items = append(l.Items, shownAgent(a, carried[a.ID]))
		}
		return l, err
	})
}

// agentsReach says where tunnel agents are reached.
func (c *Conductor) agentsReach(ctx context.Context, _ wire.AgentsReach) (wire.AgentsAt, error) {
	return view(ctx, c, func(tx *store.Tx) (wire.AgentsAt, error) {
		at := wire.AgentsAt{URLs: []string{}}
		agents, err := tx.Agents()
		for _, online := range []bool{true, false} {
			for _, a := range agents {
				if a.Kind == wire.AgentTunnel && a.Online == online && len(at.URLs) < wire.MaxAgentsAt {
					at.URLs = append(at.URLs, a.URL)
				}
			}
		}
		return at, err
	})
}

// agentsGet returns one.
func (c *Conductor) agentsGet(ctx context.Context, req wire.RefRequest) (s4t.Agent, error) {
	op := fmt.Sprintf("show agent %q", s4t.Line(req.Ref, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleAdmin); err != nil {
		return s4t.Agent{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Agent, error) {
		a, err := findAgent(op, tx.Agent, req.Ref)
		if err != nil {
			return s4t.Agent{}, err
		}
		carried, err := tx.Carried()
		return shownAgent(a, carried[a.ID]), err
	})
}

// findAgent is for a request about one.
func findAgent(op string, get func(s4t.AgentID) (store.Agent, error), ref string) (store.Agent, error) {
	a, err := get(s4t.AgentID(ref))
	if s4t.KindOf(err) == s4t.NotFound {
		return a, s4t.Errorf(s4t.NotFound, op, "`s4t agent list` shows what there is", "it does not exist")
	}
	return a, err
}

// agentsDrain has an agent give up what it has, or take what is new again. What has
// moved stays where it is then.
func (c *Conductor) agentsDrain(ctx context.Context, req wire.AgentDrain) (s4t.Agent, error) {
	verb, action, event, to := "drain", "agent.drain", "agent.draining", store.DrainBegun
	if !req.Drain {
		verb, action, event, to = "undrain", "agent.undrain", "agent.undrained", store.DrainNot
	}
	op := fmt.Sprintf("%s agent %q", verb, s4t.Line(req.Ref, s4t.MaxName))
	var drained store.Agent
	err := c.request(ctx, req.Caller, action, s4t.Line(req.Ref, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleAdmin); err != nil {
			return err
		}
		a, err := findAgent(op, ch.LockAgent, req.Ref)
		if err != nil {
			return err
		}
		drained, rec.Object = a, string(a.ID)
		if req.Drain == (a.Drain != store.DrainNot) {
			return nil // it is so already
		}
		agents, err := ch.Agents()
		if err != nil {
			return err
		}
		if req.Drain && !slices.ContainsFunc(agents, func(o store.Agent) bool { return o.ID != a.ID && o.Takes(a.Kind) }) {
			return s4t.Errorf(s4t.Conflict, op, "start another one first, or undrain one", "there is no other %s that takes what it has", a.Kind)
		}
		drained.Drain = to
		ch.event(s4t.Event{Kind: event, Object: string(a.ID), Name: string(a.ID), Detail: "by " + req.Caller.User})
		_, err = ch.SetAgentDrain(a.ID, to)
		return err
	})
	if err != nil {
		return s4t.Agent{}, err
	}
	carried, err := view(ctx, c, func(tx *store.Tx) (map[s4t.AgentID]store.Carried, error) { return tx.Carried() })
	return shownAgent(drained, carried[drained.ID]), err
}
