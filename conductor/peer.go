package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A network is at its own tunnel agent, and at those of its boards' places: there is
// a switch of it at each, and a peering between each two, which both hold. Where all
// are at one agent there is none of this.

// peerKind: the switches of two tunnel agents reach each other.
var peerKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		n, err := ch.Network(wire.PeeringNetwork(id))
		if err != nil || now == s4t.PortPending {
			return err
		}
		detail := apart(halves)
		if now == s4t.PortUp {
			detail = ""
		}
		ch.event(s4t.Event{Kind: "peer." + string(now), Project: n.Project, Object: string(n.ID), Name: n.Name, Detail: detail})
		return nil
	},
}

// apart says, for people, that the two ends of a peering do not reach each other.
func apart(halves []store.Realization) string {
	if len(halves) != 2 {
		return ""
	}
	text := fmt.Sprintf("tunnel agents %s and %s do not reach each other", halves[0].Holder, halves[1].Holder)
	return s4t.Line(missing(text, problemOf(halves)), wire.MaxProblem)
}

// beside returns the tunnel agent that a board of a place has its port of a network
// at, where that is not the network's own, home: one of that place, rather one that
// has the network already.
func (p *placing) beside(home store.Agent, place string, members map[s4t.AgentID]bool) s4t.AgentID {
	there := func(a store.Agent) bool { return a.Place == place && a.Peers }
	if place == "" || home.Place == place || !home.Peers || !slices.ContainsFunc(p.agents, there) {
		return ""
	}
	if i := slices.IndexFunc(p.agents, func(a store.Agent) bool { return there(a) && members[a.ID] }); i >= 0 {
		return p.agents[i].ID
	}
	a := slices.MinFunc(slices.DeleteFunc(slices.Clone(p.agents), func(a store.Agent) bool { return !there(a) }),
		func(a, b store.Agent) int { return p.loads[a.ID] - p.loads[b.ID] })
	if p.loads != nil {
		p.loads[a.ID]++
	}
	members[a.ID] = true
	return a.ID
}

// agentsFor returns where the ports of boards on a network are to be: at home, its
// own tunnel agent, or at one of their place.
func (ch *change) agentsFor(n s4t.Network, home store.Agent, boards []store.Board) ([]store.Agent, error) {
	at := make([]store.Agent, len(boards))
	var p *placing
	var members map[s4t.AgentID]bool
	for i, b := range boards {
		at[i] = home
		if place := b.Labels[placeLabel]; place == "" || place == home.Place {
			continue
		}
		if p == nil {
			var err error
			if p, err = ch.placing(); err != nil {
				return nil, err
			}
			if members, err = ch.agentsOf(n.ID); err != nil {
				return nil, err
			}
		}
		if id := p.beside(home, b.Labels[placeLabel], members); id != "" {
			at[i] = p.agents[slices.IndexFunc(p.agents, func(a store.Agent) bool { return a.ID == id })]
		}
	}
	return at, nil
}

// agentsOf are the tunnel agents that ports of a network are at besides its own.
func (ch *change) agentsOf(id s4t.NetworkID) (map[s4t.AgentID]bool, error) {
	members, err := ch.MembersOf(id)
	at := map[s4t.AgentID]bool{}
	for _, m := range members {
		at[m.Agent] = true
	}
	return at, err
}

// membersOf are where a network is to be: at the tunnel agents of boards that are
// attached, besides its own, and those that such a board moves away from.
func (ch *change) membersOf(n s4t.Network) (stay, leave map[s4t.AgentID]bool, attachedOnes bool, err error) {
	stay, leave = map[s4t.AgentID]bool{n.TunnelAgent: true}, map[s4t.AgentID]bool{}
	members, err := ch.MembersOf(n.ID)
	for _, m := range members {
		if !attached(m.Status) {
			continue
		}
		attachedOnes = true
		if m.Agent != "" {
			stay[m.Agent] = true
		}
		if m.Leaving != "" {
			leave[m.Leaving] = true
		}
	}
	for id := range stay {
		delete(leave, id)
	}
	return stay, leave, attachedOnes, err
}

// wantPeers wants the switch of a network of all tunnel agents that it is at, which
// spec describes, and the peerings between them; and takes back those of before.
func (ch *change) wantPeers(n s4t.Network, spec wire.TunnelNetwork, members map[s4t.AgentID]bool, was []store.Peering) error {
	agents, err := ch.Agents()
	if err != nil {
		return err
	}
	agents = slices.DeleteFunc(agents, func(a store.Agent) bool { return !members[a.ID] }) // by id
	ch.dropPeers(n.ID, was, members)
	for i, a := range agents {
		ch.want(agentOf(a.ID), wire.KindNetwork, string(n.ID), spec)
		for _, b := range agents[i+1:] {
			id := wire.PeeringID(n.ID, a.ID, b.ID)
			ch.want(agentOf(a.ID), wire.KindPeer, id, wire.TunnelPeer{Network: n.ID, Agent: b.ID, URL: b.URL, Dial: true})
			ch.want(agentOf(b.ID), wire.KindPeer, id, wire.TunnelPeer{Network: n.ID, Agent: a.ID, URL: a.URL})
			p := store.Peering{Low: a.ID, High: b.ID}
			if slices.Contains(was, p) {
				continue
			}
			if err := ch.InsertPeering(n.ID, p); err != nil {
				return err
			}
		}
	}
	for _, p := range was {
		if members[p.Low] && members[p.High] {
			continue
		}
		if err := ch.DeletePeering(n.ID, p); err != nil {
			return err
		}
	}
	return nil
}

// dropPeers takes back what tunnel agents have of a network beside those of members.
func (ch *change) dropPeers(id s4t.NetworkID, was []store.Peering, members map[s4t.AgentID]bool) {
	for _, p := range was {
		both := members[p.Low] && members[p.High]
		for _, a := range []s4t.AgentID{p.Low, p.High} {
			if !both {
				ch.unwant(agentOf(a), wire.KindPeer, wire.PeeringID(id, p.Low, p.High))
			}
			if !members[a] {
				ch.unwant(agentOf(a), wire.KindNetwork, string(id))
			}
		}
	}
}

// problemsOf says which tunnel agents of a network do not reach each other.
func problemsOf(tx *store.Tx, n s4t.NetworkID) (agents []s4t.AgentID, problems []string, err error) {
	peerings, err := tx.Peerings(n)
	if err != nil || len(peerings) == 0 {
		return nil, nil, err
	}
	ids := make([]string, len(peerings))
	for i, p := range peerings {
		ids[i] = wire.PeeringID(n, p.Low, p.High)
		agents = append(agents, p.Low, p.High)
	}
	slices.Sort(agents)
	rows, err := tx.RealizationsOf(ids)
	for len(rows) > 1 {
		if halves := rows[:2]; halves[0].Object == halves[1].Object {
			if !halves[0].Gone && !halves[1].Gone && store.StatusOf(halves) != s4t.PortUp {
				problems = append(problems, apart(halves))
			}
			rows = rows[1:]
		}
		rows = rows[1:]
	}
	return slices.Compact(agents), problems, err
}

// tunnelTicket signs a ticket for a tunnel agent to dial the other end of a peering.
func (c *Conductor) tunnelTicket(ctx context.Context, req wire.TunnelTicketAsk) (wire.TunnelTicket, error) {
	op := fmt.Sprintf("give agent %q a ticket for peering %q", req.Agent, s4t.Line(req.Peering, 2*s4t.MaxName))
	t, err := view(ctx, c, func(tx *store.Tx) (t wire.Ticket, err error) {
		if _, err := fencedAgent(op, tx.Agent, req.Agent, req.Incarnation); err != nil {
			return t, err
		}
		rows, err := tx.Held(string(req.Agent), []wire.ResourceKey{{Kind: wire.KindPeer, ID: req.Peering}})
		if err != nil {
			return t, err
		}
		var peer wire.TunnelPeer
		if len(rows) == 1 && !rows[0].Gone {
			if err := json.Unmarshal([]byte(rows[0].Spec), &peer); err != nil {
				return t, s4t.Errorf(s4t.Internal, op, "", "%w", err)
			}
		}
		if !peer.Dial {
			return t, s4t.Errorf(s4t.Forbidden, op, "", "it is not to dial it")
		}
		a, err := tx.Agent(peer.Agent)
		return wire.Ticket{Purpose: wire.PurposePeer, Agent: a.ID, Incarnation: a.Incarnation, Peering: req.Peering}, err
	})
	if err != nil {
		return wire.TunnelTicket{}, err
	}
	return wire.TunnelTicket{Ticket: c.sign(t)}, nil
}
