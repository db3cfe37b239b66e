package conductor

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// place returns the live tunnel agent with the fewest ports and services.
func (ch *change) place(op string) (store.Agent, error) {
	agents, err := ch.Agents(wire.AgentTunnel)
	if err != nil {
		return store.Agent{}, err
	}
	loads, err := ch.AgentLoads()
	if err != nil {
		return store.Agent{}, err
	}
	agents = slices.DeleteFunc(agents, func(a store.Agent) bool { return !a.Online })
	if len(agents) == 0 {
		return store.Agent{}, s4t.Errorf(s4t.Unavailable, op, "try again in a moment; the operator finds the reason in the log of iotronic", "no tunnel agent is there")
	}
	return slices.MinFunc(agents, func(a, b store.Agent) int { return loads[a.ID] - loads[b.ID] }), nil
}

// placeBoard makes sure that the board has a tunnel agent for its services and
// streams, and returns it.
func (ch *change) placeBoard(op string, b *store.Board) (store.Agent, error) {
	if b.TunnelAgent != "" {
		return ch.Agent(b.TunnelAgent)
	}
	a, err := ch.place(op)
	if err != nil {
		return a, err
	}
	b.TunnelAgent = a.ID
	return a, ch.UpdateBoard(*b)
}

// tunnelDesired is the whole state that a tunnel agent should have.
func (c *Conductor) tunnelDesired(ctx context.Context, req wire.TunnelAsk) (wire.TunnelDesired, error) {
	return view(ctx, c, func(tx *store.Tx) (wire.TunnelDesired, error) {
		d := wire.TunnelDesired{Networks: []wire.TunnelNetwork{}, Exposures: []wire.TunnelExposure{}, Boards: []s4t.BoardID{}}
		a, err := tx.Agent(req.Agent)
		if err != nil {
			return d, err
		}
		d.Generation = a.Generation
		networks, err := tx.NetworksOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		if d.Weights, err = weightsOf(tx, networks); err != nil {
			return d, err
		}
		ports, err := tx.PortsOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		endpoints, err := tx.EndpointsOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		attached := attachments(endpoints)
		at := map[s4t.NetworkID]int{}
		for i, n := range networks {
			at[n.ID] = i
			d.Networks = append(d.Networks, wire.TunnelNetwork{
				ID: n.ID, Layer: n.Layer, Encapsulation: n.Encapsulation, MTU: n.MTU, Key: n.Key, Ports: []wire.TunnelPort{}, AttachGRE: attached[n.ID],
			})
		}
		uplinks, err := tx.UplinksOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		for _, u := range uplinks {
			n := &d.Networks[at[u.Network]]
			n.Uplink, n.UplinkGuards = u.Bridge, u.Guards
		}
		for _, p := range ports {
			n := &d.Networks[at[p.Network]]
			n.Ports = append(n.Ports, wire.TunnelPort{
				ID: p.ID, Board: p.BoardID, Project: p.Project, MAC: p.MAC, Addresses: p.Addresses, Guards: p.Guards, GRE: outer(p),
			})
		}
		services, err := tx.ServicesOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		for _, s := range services {
			d.Exposures = append(d.Exposures, wire.TunnelExposure{ID: s.ID, Board: s.BoardID, PublicPort: s.PublicPort, Ticket: c.serviceTicket(s)})
		}
		boards, err := tx.BoardsOfTunnelAgent(a.ID)
		if err != nil {
			return d, err
		}
		for _, b := range boards {
			if len(b.PublicKey) > 0 { // enrolled
				d.Boards = append(d.Boards, b.ID)
			}
		}
		return d, nil
	})
}

// serviceTicket is the ticket of an exposed service. It is the same each time,
// and good for as long as board and tunnel agent have the service in their
// desired state.
func (c *Conductor) serviceTicket(s store.Service) string {
	return wire.Ticket{
		ID: string(s.ID), Purpose: wire.PurposeService, Agent: s.Agent, Board: s.BoardID, Service: s.ID,
		Target: net.JoinHostPort(s.Target, strconv.Itoa(s.TCPPort)),
	}.Sign(c.cfg.TicketKey)
}

// tunnelReport takes what a tunnel agent has (step 8 of Fig. 3).
func (c *Conductor) tunnelReport(ctx context.Context, req wire.TunnelReport) (wire.Empty, error) {
	err := c.change(ctx, func(ch *change) error {
		a, err := ch.Agent(req.Agent)
		if err != nil || a.Incarnation != req.Incarnation || !c.inOrder(req) {
			return err
		}
		if a.Applied != req.Generation {
			a.Applied = req.Generation
			if err := ch.PutAgent(a); err != nil {
				return err
			}
			ch.heardAgents[a.ID] = true
		}
		return ch.tunnelHas(a.ID, req)
	})
	return wire.Empty{}, err
}

// inOrder reports whether no later report of this agent was taken already. It
// is called inside the transaction: they run one after the other.
func (c *Conductor) inOrder(req wire.TunnelReport) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Seq != 0 && req.Seq < c.seq[req.Agent] {
		return false
	}
	c.seq[req.Agent] = req.Seq
	return true
}

// tunnelHas writes what differs from what a tunnel agent has.
func (ch *change) tunnelHas(agent s4t.AgentID, has wire.TunnelReport) error {
	portUp, exposed, streams := set(has.Ports), set(has.Exposures), set(has.Streams)
	ports, err := ch.PortsOfAgent(agent)
	if err != nil {
		return err
	}
	for _, p := range ports {
		up, problem := portUp[p.ID], clip(has.Problems[string(p.ID)])
		if p.AgentUp == up && p.AgentProblem == problem {
			continue
		}
		p.AgentUp, p.AgentProblem = up, problem
		if err := ch.setPort(p); err != nil {
			return err
		}
	}
	if err := ch.endpointsAre(agent, has); err != nil {
		return err
	}
	if err := ch.uplinksHave(agent, has); err != nil {
		return err
	}
	boards, err := ch.BoardsOfTunnelAgent(agent)
	if err != nil {
		return err
	}
	for _, b := range boards {
		if b.StreamsUp != streams[b.ID] {
			b.StreamsUp = streams[b.ID]
			ch.heardBoards[b.ID], ch.heardAgents[agent] = true, true
			if err := ch.UpdateBoard(b); err != nil {
				return err
			}
		}
	}
	services, err := ch.ServicesOfAgent(agent)
	if err != nil {
		return err
	}
	for _, s := range services {
		up, problem := exposed[s.ID], clip(has.Problems[string(s.ID)])
		if s.AgentUp == up && s.Problem == problem && (s.Status == s4t.ServiceUp) == (up && s.StreamsUp) {
			continue
		}
		s.AgentUp, s.Problem = up, problem
		if err := ch.setService(s); err != nil {
			return err
		}
	}
	return nil
}

// tunnelEvent tells what only the data path sees.
func (c *Conductor) tunnelEvent(ctx context.Context, req wire.TunnelEvent) (wire.Empty, error) {
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		p, err := ch.Port(req.Port)
		if s4t.KindOf(err) == s4t.NotFound {
			u, err := ch.Uplink(s4t.NetworkID(req.Port))
			if err == nil && u.Agent == req.Agent {
				ch.uplinkEvent(req.Kind, u, req.Detail)
			}
			return nil // else it went meanwhile
		}
		if err != nil || p.TunnelAgent != req.Agent {
			return err
		}
		ch.event(s4t.Event{Kind: req.Kind, Project: p.Project, Object: string(p.ID), Name: p.Interface, Board: p.Board, Detail: clip(req.Detail)})
		return nil
	})
}

// set makes a set of a list.
func set[T comparable](list []T) map[T]bool {
	m := make(map[T]bool, len(list))
	for _, v := range list {
		m[v] = true
	}
	return m
}

// clip bounds a line that came from outside: 255 bytes.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 255)], "") }
