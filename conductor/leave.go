package conductor

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A tunnel agent that was left goes on for a while with what has moved away from it,
// and is then told that it is gone.

// letGo takes from an agent what it went on to carry after it was moved, where the
// time of that is over, and tells of a drained one that has nothing any more. leaving is when the first
// such network leaves; zero: there is none.
func (c *Conductor) letGo(ctx context.Context, a store.Agent, leaving, now time.Time) error {
	due, empty := !leaving.IsZero() && !leaving.After(now), false
	if leaving.IsZero() && a.Drain == store.DrainBegun {
		var err error
		empty, err = view(ctx, c, func(tx *store.Tx) (bool, error) {
			carried, err := tx.Carried()
			if err != nil || carried[a.ID] != (store.Carried{}) {
				return false, err
			}
			left, err := tx.AgentsLeft() // what was moved a moment ago leaves later
			_, some := left[a.ID]
			return !some, err
		})
		if err != nil {
			return err
		}
	}
	if a.Kind == wire.AgentWAMP {
		empty = c.upkept.stayedEmpty(a.ID, empty, now)
	}
	if !due && !empty {
		return nil
	}
	if err := c.takeLeft(ctx, a); err != nil || !empty {
		return err
	}
	return c.emptyNow(ctx, a)
}

// lingering is how long boards keep the session that they have left, for the questions that
// are on their way through it, and a bit.
const lingering = 4 * time.Second

// stayedEmpty reports whether a WAMP agent has had no boards for so long that nobody asks
// anything through it any more. A session that was left is not counted.
func (u *upkept) stayedEmpty(agent s4t.AgentID, empty bool, now time.Time) bool {
	if !empty {
		delete(u.empty, agent)
		return false
	}
	since, known := u.empty[agent]
	if !known {
		if u.empty == nil {
			u.empty = map[s4t.AgentID]time.Time{}
		}
		u.empty[agent] = now
		return false
	}
	return now.Sub(since) >= lingering
}

// emptyNow tells that a drained agent has nothing any more.
func (c *Conductor) emptyNow(ctx context.Context, a store.Agent) error {
	return c.change(ctx, func(ch *change) error {
		now, err := ch.LockAgent(a.ID)
		if err != nil || now.Drain != store.DrainBegun {
			return err
		}
		if told, err := ch.SetAgentDrain(a.ID, store.DrainDone); err != nil || !told {
			return err
		}
		ch.event(s4t.Event{Kind: "agent.drained", Object: string(a.ID), Name: string(a.ID), Detail: "it has nothing any more"})
		return nil
	})
}

// takeLeft takes from an agent what it has of networks that are others', and of ports
// that have moved.
func (c *Conductor) takeLeft(ctx context.Context, a store.Agent) error {
	return c.change(ctx, func(ch *change) error {
		now := ch.Now()
		leaving, err := ch.NetworksLeaving(a.ID)
		if err != nil {
			return err
		}
		moved, err := ch.PortsLeaving(a.ID)
		if err != nil {
			return err
		}
		rows, err := ch.RealizationsOfHolder(string(a.ID))
		if err != nil {
			return err
		}
		at := map[s4t.NetworkID]carried{}
		for _, r := range rows {
			id := s4t.NetworkID(r.Object)
			switch r.Kind {
			case wire.KindPort:
				var spec wire.TunnelPort
				if err := json.Unmarshal([]byte(r.Spec), &spec); err != nil {
					return s4t.Errorf(s4t.Internal, "take a port from "+string(a.ID), "", "%w", err)
				}
				id = spec.Network
			case wire.KindNetwork:
			default:
				continue
			}
			has, known := at[id]
			if !known {
				if has, err = ch.carriedOf(a.ID, id, leaving[id].After(now), now, moved); err != nil {
					return err
				}
				at[id] = has
			}
			if !has.all && (r.Kind == wire.KindNetwork && len(has.ports) == 0 || r.Kind == wire.KindPort && !has.ports[s4t.PortID(r.Object)]) {
				ch.unwant(agentOf(a.ID), r.Kind, r.Object)
			}
		}
		if err := ch.NetworksLeft(a.ID, now); err != nil {
			return err
		}
		return ch.settled(moved, now)
	})
}

// carried is what an agent goes on to have of a network.
type carried struct {
	all   bool
	ports map[s4t.PortID]bool
}

// carriedOf says what that is of agent. lingers says that it was the agent's own a
// moment ago; moved are ports that were.
func (ch *change) carriedOf(agent s4t.AgentID, id s4t.NetworkID, lingers bool, now time.Time, moved []store.PortLeaving) (carried, error) {
	has := carried{ports: map[s4t.PortID]bool{}}
	n, err := ch.Network(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return has, nil
	}
	if err != nil {
		return has, err
	}
	if has.all = n.TunnelAgent == agent || lingers; has.all {
		return has, nil
	}
	ports, err := ch.PortsOfNetwork(id)
	for _, p := range ports {
		if p.TunnelAgent == agent {
			has.ports[p.ID] = true
		}
	}
	for _, p := range moved {
		if p.Network == id && p.Until.After(now) {
			has.ports[p.Port] = true
		}
	}
	return has, err
}

// settled tells the tunnel agents of ports that have moved, and of their networks,
// that the one before is not there any more.
func (ch *change) settled(moved []store.PortLeaving, now time.Time) error {
	networks := map[s4t.NetworkID]bool{}
	for _, m := range moved {
		if m.Until.After(now) {
			continue
		}
		p, err := ch.Port(m.Port)
		if err != nil {
			return err
		}
		if err := ch.wantPort(p); err != nil {
			return err
		}
		networks[m.Network] = true
	}
	for _, id := range slices.Sorted(maps.Keys(networks)) {
		n, err := ch.Network(id)
		if err != nil {
			return err
		}
		if err := ch.wantNetwork(n); err != nil {
			return err
		}
	}
	return nil
}
