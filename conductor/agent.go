package conductor

import (
	"context"
	"crypto/ed25519"
	"fmt"
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
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		if a.Incarnation != req.Incarnation {
			return s4t.Errorf(s4t.Unavailable, fmt.Sprintf("hear agent %q", req.ID), "say hello first", "this incarnation is not known")
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
				if err := ch.setServices(b.ID); err != nil {
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
	limit := c.now().Add(-agentTimeout)
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
