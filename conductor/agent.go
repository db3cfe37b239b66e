package conductor

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// agentTimeout is how long an agent may be silent; it beats every 5 s.
const agentTimeout = 10 * time.Second

// agentHello takes in an agent that starts. A new incarnation has forgotten
// the sessions and ports of the one before: they are over.
func (c *Conductor) agentHello(ctx context.Context, req wire.AgentHello) (wire.AgentWelcome, error) {
	op := fmt.Sprintf("take in agent %q", req.ID)
	if req.ID == "" || req.Incarnation == "" || req.Kind != wire.AgentWAMP && req.Kind != wire.AgentTunnel {
		return wire.AgentWelcome{}, s4t.Errorf(s4t.Invalid, op, "", "id, incarnation and kind are required")
	}
	low, high, err := portRange(req.PublicPorts)
	if err != nil {
		return wire.AgentWelcome{}, s4t.Errorf(s4t.Invalid, op, "use a range like 50000-60000", "%q is no range of public ports", req.PublicPorts)
	}
	var gone []s4t.BoardID
	err = c.change(ctx, func(ch *change) error {
		gone = nil
		was, err := ch.Agent(req.ID)
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		now := was
		now.ID, now.Kind, now.Incarnation, now.URL, now.Host = req.ID, req.Kind, req.Incarnation, req.URL, req.Host
		now.PublicMin, now.PublicMax, now.Online, now.SeenAt = low, high, true, ch.now
		if was.Incarnation != req.Incarnation {
			now.Applied = 0
		}
		if err := ch.PutAgent(now); err != nil {
			return err
		}
		ch.heardAgents[req.ID] = true
		if was.Incarnation != req.Incarnation {
			if req.Kind == wire.AgentWAMP {
				gone, err = ch.endSessions(req.ID, func(b store.Board) bool { return b.Incarnation != req.Incarnation })
			} else {
				err = ch.tunnelHas(req.ID, wire.TunnelReport{})
			}
			if err != nil {
				return err
			}
		}
		if req.Kind == wire.AgentTunnel && was.ID != "" && was.URL != req.URL {
			return ch.touchBoardsOf(req.ID) // they are told where to dial
		}
		return nil
	})
	if err != nil {
		return wire.AgentWelcome{}, err
	}
	for _, b := range gone {
		c.notePresence(b, false)
	}
	c.mu.Lock()
	delete(c.seq, req.ID)
	c.mu.Unlock()
	return wire.AgentWelcome{TicketKey: c.ticketKey()}, nil
}

// ticketKey is the public half of the key that signs tickets.
func (c *Conductor) ticketKey() ed25519.PublicKey {
	return c.cfg.TicketKey.Public().(ed25519.PublicKey)
}

// portRange reads "50000-60000"; "" is no port at all.
func portRange(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		b = a
	}
	if low, err = strconv.Atoi(a); err == nil {
		high, err = strconv.Atoi(b)
	}
	if err == nil && (low < 1 || high > 65535 || low > high) {
		err = strconv.ErrRange
	}
	return low, high, err
}

// agentBeat hears that an agent is still there. Sessions of an agent that was
// silent for too long, and is the same as before, are live again.
func (c *Conductor) agentBeat(ctx context.Context, req wire.AgentBeat) (wire.Empty, error) {
	var back []s4t.BoardID
	err := c.change(ctx, func(ch *change) error {
		back = nil
		a, err := ch.Agent(req.ID)
		if err != nil || a.Incarnation != req.Incarnation {
			return err // it says hello first
		}
		wasOnline := a.Online
		a.Online, a.SeenAt = true, ch.now
		if err := ch.PutAgent(a); err != nil || wasOnline {
			return err
		}
		ch.heardAgents[a.ID] = true
		if a.Kind == wire.AgentTunnel {
			ch.wakeAgent(a.ID, a.Generation)
			return nil
		}
		boards, err := ch.BoardsOfWAMPAgent(a.ID)
		if err != nil {
			return err
		}
		for _, b := range boards {
			if b.Status == s4t.BoardOffline && b.Incarnation == a.Incarnation {
				b.Status = s4t.BoardOnline
				if err := ch.UpdateBoard(b); err != nil {
					return err
				}
				ch.boardEvent("board.online", b, "its WAMP agent is back")
				ch.heardBoards[b.ID] = true
				ch.wakeBoard(b)
				back = append(back, b.ID)
			}
		}
		return nil
	})
	for _, b := range back {
		c.notePresence(b, true)
	}
	return wire.Empty{}, err
}

// silence marks the agents that were silent for too long, and what they held,
// as away.
func (c *Conductor) silence(ctx context.Context) error {
	var gone []s4t.BoardID
	limit := c.cfg.Now().Add(-agentTimeout)
	agents, err := view(ctx, c, func(tx *store.Tx) ([]store.Agent, error) { return tx.Agents("") })
	if err != nil || !slices.ContainsFunc(agents, func(a store.Agent) bool { return a.Online && a.SeenAt.Before(limit) }) {
		return err
	}
	err = c.change(ctx, func(ch *change) error {
		gone = nil
		agents, err := ch.Agents("")
		if err != nil {
			return err
		}
		for _, a := range agents {
			if !a.Online || !a.SeenAt.Before(limit) {
				continue
			}
			c.cfg.Log.Warn("an agent is silent", "agent", a.ID, "since", a.SeenAt)
			a.Online, a.Applied = false, 0
			if err := ch.PutAgent(a); err != nil {
				return err
			}
			ch.heardAgents[a.ID] = true
			if a.Kind == wire.AgentTunnel {
				if err := ch.tunnelHas(a.ID, wire.TunnelReport{}); err != nil {
					return err
				}
				continue
			}
			boards, err := ch.endSessions(a.ID, func(store.Board) bool { return true })
			if err != nil {
				return err
			}
			gone = append(gone, boards...)
		}
		return nil
	})
	for _, b := range gone {
		c.notePresence(b, false)
	}
	return err
}

// endSessions marks the online boards of a WAMP agent that over chooses as
// offline.
func (ch *change) endSessions(agent s4t.AgentID, over func(store.Board) bool) ([]s4t.BoardID, error) {
	boards, err := ch.BoardsOfWAMPAgent(agent)
	if err != nil {
		return nil, err
	}
	var gone []s4t.BoardID
	for _, b := range boards {
		if b.Status != s4t.BoardOnline || !over(b) {
			continue
		}
		if err := ch.setOffline(b, "its WAMP agent is away"); err != nil {
			return nil, err
		}
		gone = append(gone, b.ID)
	}
	return gone, nil
}

// touchBoardsOf makes a new generation for every board that dials a tunnel
// agent.
func (ch *change) touchBoardsOf(agent s4t.AgentID) error {
	ports, err := ch.PortsOfAgent(agent)
	if err != nil {
		return err
	}
	boards, err := ch.BoardsOfTunnelAgent(agent)
	if err != nil {
		return err
	}
	for _, p := range ports {
		ch.touchBoard(p.BoardID)
	}
	for _, b := range boards {
		ch.touchBoard(b.ID)
	}
	return nil
}

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
		d := wire.TunnelDesired{Networks: []wire.TunnelNetwork{}, Exposures: []wire.TunnelExposure{}}
		a, err := tx.Agent(req.Agent)
		if err != nil {
			return d, err
		}
		d.Generation = a.Generation
		networks, err := tx.NetworksOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		ports, err := tx.PortsOfAgent(a.ID)
		if err != nil {
			return d, err
		}
		at := map[s4t.NetworkID]int{}
		for i, n := range networks {
			at[n.ID] = i
			d.Networks = append(d.Networks, wire.TunnelNetwork{
				ID: n.ID, Layer: n.Layer, Encapsulation: n.Encapsulation, MTU: n.MTU, Key: n.Key, Ports: []wire.TunnelPort{},
			})
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
			return nil // it went meanwhile
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
