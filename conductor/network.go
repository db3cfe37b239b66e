package conductor

import (
	"context"
	"fmt"
	"maps"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// wantNetwork wants of its tunnel agents the switch of a network, and of its own what
// is on it besides ports; where it carries nobody yet, nothing.
func (ch *change) wantNetwork(n s4t.Network) error {
	p, err := ch.Project(string(n.Project))
	if err != nil {
		return err
	}
	agent := agentOf(n.TunnelAgent)
	stay, leave, attachedOnes, err := ch.membersOf(n)
	if err != nil {
		return err
	}
	was, err := ch.Peerings(n.ID)
	if err != nil {
		return err
	}
	outward := n.Uplink != nil || len(n.AttachGRE) > 0 // an admin has joined machines of the data centre to it
	if !attachedOnes && !outward {
		ch.unwant(agent, wire.KindNetwork, string(n.ID))
		if len(was) > 0 {
			err = ch.wantPeers(n, wire.TunnelNetwork{}, nil, was)
		}
		return err
	}
	spec := wire.TunnelNetwork{Layer: n.Layer, Encapsulation: n.Encapsulation, MTU: n.MTU, Key: n.Key, Project: n.Project, Weight: p.Weight}
	switch {
	case len(stay) == 1 && (len(leave) == 0 || len(was) == 0): // one that moves as a whole has no peerings
		ch.want(agent, wire.KindNetwork, string(n.ID), spec)
		if len(was) > 0 {
			err = ch.wantPeers(n, spec, stay, was)
		}
	default:
		spec.Outward = outward
		maps.Copy(stay, leave)
		err = ch.wantPeers(n, spec, stay, was)
	}
	if err != nil {
		return err
	}
	for _, e := range n.AttachGRE {
		ch.want(agent, wire.KindGRE, string(e.ID), wire.GREAttachment{Network: n.ID, Remote: e.Remote, Local: e.Local, Key: e.Key, Guards: e.Guards})
	}
	if n.Uplink != nil {
		ch.want(agent, wire.KindUplink, string(n.ID), wire.TunnelUplink{Bridge: n.Uplink.Bridge, Guards: n.Uplink.Guards})
	}
	return nil
}

// removeNetwork takes a network back, with all that is on it but its ports.
func (ch *change) removeNetwork(n s4t.Network) error {
	agent := agentOf(n.TunnelAgent)
	was, err := ch.Peerings(n.ID)
	if err != nil {
		return err
	}
	ch.dropPeers(n.ID, was, nil)
	ch.unwant(agent, wire.KindNetwork, string(n.ID))
	for _, e := range n.AttachGRE {
		ch.unwant(agent, wire.KindGRE, string(e.ID))
	}
	if n.Uplink != nil {
		ch.unwant(agent, wire.KindUplink, string(n.ID))
	}
	ch.later(func() error { return ch.DeleteNetwork(n.ID) })
	return nil
}

// networkList returns the networks that the caller sees.
func (c *Conductor) networkList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Network], error) {
	return list(ctx, c, req.Caller, "list networks", req.Page, same[s4t.Network], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Network], error) {
		return tx.Networks(scope(req.Caller), p)
	})
}

// networkGet returns a network by name or id.
func (c *Conductor) networkGet(ctx context.Context, req wire.RefRequest) (s4t.Network, error) {
	op := fmt.Sprintf("show network %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Network{}, err
	}
	n, err := view(ctx, c, func(tx *store.Tx) (s4t.Network, error) {
		n, err := findNetwork(tx, req.Caller, op, req.Ref)
		if err == nil {
			n.TunnelAgents, n.Problems, err = problemsOf(tx, n.ID)
		}
		return n, err
	})
	if err == nil && n.Uplink != nil {
		n.Uplink.Counters = c.countersOf(ctx, n.TunnelAgent, s4t.PortID(n.ID))
	}
	return n, err
}

// networkPorts returns the ports of a network, all of them, with what they counted: one question to
// each of its tunnel agents. Where one does not answer, its ports have no counters.
func (c *Conductor) networkPorts(ctx context.Context, req wire.RefRequest) (wire.List[s4t.Port], error) {
	op := fmt.Sprintf("show the ports of network %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.List[s4t.Port]{}, err
	}
	l := wire.List[s4t.Port]{Items: []s4t.Port{}}
	stored, err := view(ctx, c, func(tx *store.Tx) (ports []store.Port, err error) {
		n, err := findNetwork(tx, req.Caller, op, req.Ref)
		if err != nil {
			return nil, err
		}
		if l.EventID, err = tx.LastEvent(); err != nil {
			return nil, err
		}
		return tx.PortsOfNetwork(n.ID)
	})
	if err != nil {
		return l, err
	}
	ask := map[s4t.AgentID][]s4t.PortID{}
	for _, p := range stored {
		ask[p.TunnelAgent] = append(ask[p.TunnelAgent], p.ID)
	}
	counted := c.counted(ctx, ask)
	for _, p := range stored {
		shown := shownPort(p)
		shown.Counters = counted(p.ID)
		l.Items = append(l.Items, shown)
	}
	return l, nil
}

// subnetList returns the subnets that the caller sees.
func (c *Conductor) subnetList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Subnet], error) {
	return list(ctx, c, req.Caller, "list subnets", req.Page, same[s4t.Subnet], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Subnet], error) {
		return tx.Subnets(scope(req.Caller), p)
	})
}

// subnetGet returns a subnet by id.
func (c *Conductor) subnetGet(ctx context.Context, req wire.RefRequest) (s4t.Subnet, error) {
	op := fmt.Sprintf("show subnet %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Subnet{}, err
	}
	sn, err := view(ctx, c, func(tx *store.Tx) (s4t.Subnet, error) { return tx.Subnet(s4t.SubnetID(req.Ref)) })
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return s4t.Subnet{}, err
	}
	if err != nil || !req.Caller.Sees(sn.Project) {
		return s4t.Subnet{}, s4t.Errorf(s4t.NotFound, op, "`s4t subnet list` shows what there is", "it does not exist")
	}
	return sn, nil
}
