package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// askTimeout is how long an agent has to answer a question on behalf of a user
// who waits.
const askTimeout = 2 * time.Second

// shownPort is a port as a user sees it.
func shownPort(p store.Port) s4t.Port {
	p.GRE = outer(p)
	if p.Status == s4t.PortUp {
		p.Problem = ""
	}
	return p.Port
}

// portList returns the ports that the caller sees.
func (c *Conductor) portList(ctx context.Context, req wire.CallerRequest) ([]s4t.Port, error) {
	if err := allow(req.Caller, "list ports", s4t.RoleReader); err != nil {
		return nil, err
	}
	stored, err := view(ctx, c, func(tx *store.Tx) ([]store.Port, error) { return tx.Ports(scope(req.Caller)) })
	if err != nil {
		return nil, err
	}
	ports := make([]s4t.Port, len(stored))
	for i, p := range stored {
		ports[i] = shownPort(p)
	}
	return ports, nil
}

// portGet returns a port with its counters, where the tunnel agent has them.
func (c *Conductor) portGet(ctx context.Context, req wire.RefRequest) (s4t.Port, error) {
	op := fmt.Sprintf("show port %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Port{}, err
	}
	stored, err := view(ctx, c, func(tx *store.Tx) (store.Port, error) { return tx.Port(s4t.PortID(req.Ref)) })
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return s4t.Port{}, err
	}
	if err != nil || !sees(req.Caller, stored.Project) {
		return s4t.Port{}, s4t.Errorf(s4t.NotFound, op, "`s4t port list` shows what there is", "it does not exist")
	}
	p := shownPort(stored)
	p.Counters = c.countersOf(ctx, stored.TunnelAgent, p.ID)
	return p, nil
}

// countersOf asks a tunnel agent what a port, or the uplink of a network,
// counted; nil where it does not answer.
func (c *Conductor) countersOf(ctx context.Context, agent s4t.AgentID, port s4t.PortID) *s4t.PortCounters {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var counters s4t.PortCounters
	if c.cfg.Queue.Call(ctx, wire.TopicTunnelAgent+"."+string(agent), wire.MethodPortCounters, wire.PortCountersAsk{Port: port}, &counters) != nil {
		return nil
	}
	return &counters
}

// removePort removes a port from desired state; its addresses are free again.
func (ch *change) removePort(p store.Port) error {
	ch.touchBoard(p.BoardID)
	ch.touchAgent(p.TunnelAgent)
	ch.networks[p.Network] = true
	if p.Status == s4t.PortUp {
		ch.event(s4t.Event{Kind: "port.down", Project: p.Project, Object: string(p.ID), Name: p.Interface, Board: p.Board, Detail: "removed"})
	}
	return ch.DeletePort(p.ID)
}
