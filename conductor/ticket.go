package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// ticketLife is how long a ticket that works once may wait for its use.
const ticketLife = 60 * time.Second

// maxTickets is how many a board gets at a time.
const maxTickets = 16

// sign makes a ticket that works once, soon, at one incarnation of its agent.
func (c *Conductor) sign(t wire.Ticket) string {
	t.ID = s4t.NewID()
	t.Expires = c.now().Add(ticketLife).Unix()
	return t.Sign(c.cfg.TicketKey)
}

// serviceTicket is the ticket of an exposed service. It is the same each time,
// and good for as long as board and tunnel agent have the service in their
// desired state.
func (c *Conductor) serviceTicket(s store.Service) string {
	by := leasedBy(s.Project, s.Lease)
	return wire.Ticket{
		ID: string(s.ID), Purpose: wire.PurposeService, Agent: s.Agent, Board: s.BoardID, Service: s.ID,
		Target: net.JoinHostPort(s.Target, strconv.Itoa(s.TCPPort)), Project: by.For, Lease: by.Lease,
	}.Sign(c.cfg.TicketKey)
}

// boardTicket signs tickets for the data rtunnels that a board is to open: of
// a port that it has, idle ones for streams to come, or of the bundle of a plugin that
// it should have.
func (c *Conductor) boardTicket(ctx context.Context, req wire.BoardTicket) (wire.BoardTickets, error) {
	op := fmt.Sprintf("give board %q tickets", req.Board)
	if req.Count < 1 || req.Count > maxTickets {
		return wire.BoardTickets{}, s4t.Errorf(s4t.Invalid, op, "", "it asked for %d, 1 to %d are allowed", req.Count, maxTickets)
	}
	t, err := view(ctx, c, func(tx *store.Tx) (wire.Ticket, error) {
		t := wire.Ticket{Purpose: req.Purpose, Board: req.Board}
		b, err := tx.Board(req.Board)
		if err == nil {
			err = current(op, &b, req.Epoch)
		}
		if err != nil {
			return t, err
		}
		switch req.Purpose {
		case wire.PurposePort:
			p, err := tx.Port(req.Port)
			if err != nil && s4t.KindOf(err) != s4t.NotFound {
				return t, err
			}
			if err != nil || p.BoardID != req.Board {
				return t, s4t.Errorf(s4t.Forbidden, op, "", "it has no port %q", s4t.Line(string(req.Port), s4t.MaxName))
			}
			t.Port, t.Agent = p.ID, p.TunnelAgent
		case wire.PurposeStreams:
			if t.Agent = b.TunnelAgent; t.Agent == "" {
				return t, s4t.Errorf(s4t.Invalid, op, "", "no idle data rtunnel is wanted of it")
			}
		case wire.PurposeBundle:
			if err := bundleTicket(tx, op, req.Plugin, &t); err != nil {
				return t, err
			}
		default:
			return t, s4t.Errorf(s4t.Invalid, op, "", "no ticket is given to a board for the purpose %q", req.Purpose)
		}
		a, err := tx.Agent(t.Agent)
		t.Incarnation = a.Incarnation
		return t, err
	})
	if err != nil {
		return wire.BoardTickets{}, err
	}
	tickets := make([]string, req.Count)
	for i := range tickets {
		tickets[i] = c.sign(t)
	}
	return wire.BoardTickets{Tickets: tickets}, nil
}

// bundleTicket fills in the ticket for the bundle of a plugin that t's board should
// have.
func bundleTicket(tx *store.Tx, op, plugin string, t *wire.Ticket) error {
	rows, err := tx.Held(string(t.Board), []wire.ResourceKey{{Kind: wire.KindPlugin, ID: plugin}})
	if err != nil {
		return err
	}
	var d wire.DesiredPlugin
	for _, r := range rows {
		if err := json.Unmarshal([]byte(r.Spec), &d); err != nil {
			return s4t.Errorf(s4t.Internal, op, "", "the spec of its plugin %q: %w", plugin, err)
		}
	}
	if len(rows) == 0 || rows[0].Gone {
		return s4t.Errorf(s4t.Forbidden, op, "", "it should not have a plugin %q", s4t.Line(plugin, s4t.MaxName))
	}
	agents, err := tx.Agents()
	for _, a := range agents {
		if a.Kind == wire.AgentTunnel && a.URL == d.URL {
			t.Agent, t.Bundle, t.Project = a.ID, d.Digest, d.Project
			return nil
		}
	}
	if err == nil {
		err = s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the tunnel agent at %s is not there (any more)", d.URL)
	}
	return err
}
