package conductor

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// wantNetwork wants of its tunnel agent the switch of a network, and what is on
// it besides ports; of one that carries nobody yet, nothing.
func (ch *change) wantNetwork(n s4t.Network) error {
	p, err := ch.Project(string(n.Project))
	if err != nil {
		return err
	}
	agent := agentOf(n.TunnelAgent)
	if carried, err := ch.carried(n); err != nil || !carried {
		ch.unwant(agent, wire.KindNetwork, string(n.ID))
		return err
	}
	ch.want(agent, wire.KindNetwork, string(n.ID), wire.TunnelNetwork{
		Layer: n.Layer, Encapsulation: n.Encapsulation, MTU: n.MTU, Key: n.Key, Project: n.Project, Weight: p.Weight,
	})
	for _, e := range n.AttachGRE {
		ch.want(agent, wire.KindGRE, string(e.ID), wire.GREAttachment{Network: n.ID, Remote: e.Remote, Local: e.Local, Key: e.Key, Guards: e.Guards})
	}
	if n.Uplink != nil {
		ch.want(agent, wire.KindUplink, string(n.ID), wire.TunnelUplink{Bridge: n.Uplink.Bridge, Guards: n.Uplink.Guards})
	}
	return nil
}

// removeNetwork takes a network back, with all that is on it but its ports.
func (ch *change) removeNetwork(n s4t.Network) {
	agent := agentOf(n.TunnelAgent)
	ch.unwant(agent, wire.KindNetwork, string(n.ID))
	for _, e := range n.AttachGRE {
		ch.unwant(agent, wire.KindGRE, string(e.ID))
	}
	if n.Uplink != nil {
		ch.unwant(agent, wire.KindUplink, string(n.ID))
	}
	ch.later(func() error { return ch.DeleteNetwork(n.ID) })
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
		return findNetwork(tx, req.Caller, op, req.Ref)
	})
	if err == nil && n.Uplink != nil {
		n.Uplink.Counters = c.countersOf(ctx, n.TunnelAgent, s4t.PortID(n.ID))
	}
	return n, err
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
