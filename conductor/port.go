package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// askTimeout is how long an agent has to answer a question on behalf of a user
// who waits.
const askTimeout = 2 * time.Second

// portKind: a board has the device and its data rtunnel, the tunnel agent has
// that on the network's switch.
var portKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		p, err := ch.Port(s4t.PortID(id))
		if err != nil {
			return err
		}
		ch.networks[p.Network] = true
		problem := problemOf(halves)
		ch.event(s4t.Event{Kind: "port." + string(now), Project: p.Project, Object: id, Name: p.Interface, Board: p.Board, Detail: problem,
			Data: map[string]any{"id": p.ID, "network": p.Network, "board_id": p.BoardID, "status": now, "problem": problem}})
		return nil
	},
	late: func(a store.Await) string {
		if a.OnBoard {
			return "board " + a.HolderName + " has not brought its port up"
		}
		return "the tunnel agent has not attached board " + a.BoardName
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		if !a.OnBoard {
			return "", ""
		}
		switch a.ProblemID {
		case wire.NoNetworks, wire.NoTun, wire.NoNetAdmin:
			return s4t.Unavailable, fmt.Sprintf("board %s cannot carry a network: %s", a.HolderName, a.Problem)
		case wire.BridgeNotAllowed:
			return s4t.Forbidden, fmt.Sprintf("board %s refuses: %s", a.HolderName, a.Problem)
		case wire.AddressOverlap:
			return s4t.Conflict, fmt.Sprintf("board %s refuses: %s", a.HolderName, a.Problem)
		case wire.BridgeToFails:
			var d wire.DesiredPort
			if err := json.Unmarshal([]byte(a.Spec), &d); err != nil {
				return s4t.Internal, "its port is not understood"
			}
			return s4t.Conflict, fmt.Sprintf("board %s cannot bridge %s: %s (it is tried again until the port is removed)", a.HolderName, d.Guards.BridgeTo, a.Problem)
		}
		return "", ""
	},
	left: func(op store.Operation, a store.Await) string { // for the boards that can
		text := fmt.Sprintf("; the bridge is left with it: `s4t bridge remove %s --board %s` takes the board off", op.Name, a.HolderName)
		if op.Kind == kindBridgeCreate {
			text += fmt.Sprintf(", `s4t bridge delete %s` removes all of it", op.Name)
		}
		return text
	},
}

// wantPort wants both halves of a port, as far as its board is attached.
func (ch *change) wantPort(p store.Port) error {
	agent, err := ch.Agent(p.TunnelAgent)
	if err == nil {
		ch.wantPortAt(p, agent)
	}
	return err
}

// wantPortAt does it where its tunnel agent is known. The one that it leaves has it,
// too.
func (ch *change) wantPortAt(p store.Port, agent store.Agent) {
	ch.want(boardOf(p.BoardID), wire.KindPort, string(p.ID), wire.DesiredPort{
		Network: p.Network, Layer: p.Layer, Encapsulation: p.Encap, Interface: p.Interface, MAC: p.MAC,
		Addresses: p.Addresses, MTU: p.MTU, Guards: p.Guards, GRE: outer(p), URL: agent.URL, Leased: leasedBy(p.Project, p.Lease),
	}).whileOnline = p.BoardID
	if !attached(p.BoardStatus) {
		ch.unwant(agentOf(agent.ID), wire.KindPort, string(p.ID))
		return
	}
	at := wire.TunnelPort{
		Network: p.Network, Board: p.BoardID, Project: p.Project, MAC: p.MAC, Addresses: p.Addresses, Guards: p.Guards, GRE: outer(p), Twin: p.Leaving,
	}
	ch.want(agentOf(agent.ID), wire.KindPort, string(p.ID), at).whileOnline = p.BoardID
	if p.Leaving != "" {
		at.Twin, at.Leaving = "", true
		ch.want(agentOf(p.Leaving), wire.KindPort, string(p.ID), at).whileOnline = p.BoardID
	}
}

// agentOuter is the outer address of every tunnel agent for GRE: an address of
// the shared space of RFC 6598 that exists inside rtunnels only.
const agentOuter = "100.64.0.1"

// outer are the outer addresses of a port with encapsulation gre, nil of
// another.
func outer(p store.Port) *s4t.PortGRE {
	if p.GRE == nil {
		return nil
	}
	return &s4t.PortGRE{Local: p.GRE.Local, Remote: agentOuter, Key: p.GRE.Key}
}

// shownPort is a port as a user sees it.
func shownPort(p store.Port) s4t.Port {
	p.GRE = outer(p)
	return p.Port
}

// portList returns the ports that the caller sees.
func (c *Conductor) portList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Port], error) {
	return list(ctx, c, req.Caller, "list ports", req.Page, shownPort, func(tx *store.Tx, p wire.Page) (wire.List[store.Port], error) {
		return tx.Ports(scope(req.Caller), p)
	})
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
	if err != nil || !req.Caller.Sees(stored.Project) {
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
	ch.unwant(boardOf(p.BoardID), wire.KindPort, string(p.ID))
	ch.unwant(agentOf(p.TunnelAgent), wire.KindPort, string(p.ID))
	if p.Leaving != "" {
		ch.unwant(agentOf(p.Leaving), wire.KindPort, string(p.ID))
	}
	ch.networks[p.Network] = true
	if p.Status == s4t.PortUp {
		ch.event(s4t.Event{Kind: "port.down", Project: p.Project, Object: string(p.ID), Name: p.Interface, Board: p.Board, Detail: "removed"})
	}
	if err := ch.DeletePort(p.ID); err != nil || p.OwnAgent == "" {
		return err
	}
	n, err := ch.Network(p.Network)
	if err != nil {
		return err
	}
	return ch.wantNetwork(n) // it may have been the last there
}
