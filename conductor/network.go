package conductor

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// networkList returns the networks that the caller sees.
func (c *Conductor) networkList(ctx context.Context, req wire.CallerRequest) ([]s4t.Network, error) {
	if err := allow(req.Caller, "list networks", s4t.RoleReader); err != nil {
		return nil, err
	}
	return view(ctx, c, func(tx *store.Tx) ([]s4t.Network, error) {
		networks, err := tx.Networks(scope(req.Caller))
		if err != nil {
			return nil, err
		}
		endpoints, err := tx.Endpoints(scope(req.Caller))
		return withEndpoints(networks, endpoints), err
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
		if err != nil {
			return n, err
		}
		endpoints, err := tx.EndpointsOfNetwork(n.ID)
		return withEndpoints([]s4t.Network{n}, endpoints)[0], err
	})
	if err == nil && n.Uplink != nil {
		n.Uplink.Counters = c.countersOf(ctx, n.TunnelAgent, s4t.PortID(n.ID))
	}
	return n, err
}

// findNetwork returns the network that ref, a name or an id, means for the
// caller.
func findNetwork(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Network, error) {
	all, err := tx.Networks(scope(caller))
	if err != nil {
		return s4t.Network{}, err
	}
	var found []s4t.Network
	for _, n := range all {
		if n.Name == ref || string(n.ID) == ref {
			found = append(found, n)
		}
	}
	return choose(caller, op, "network", ref, found, func(n s4t.Network) string { return string(n.ID) }, func(n s4t.Network) s4t.ProjectID { return n.Project })
}

// subnetList returns the subnets that the caller sees.
func (c *Conductor) subnetList(ctx context.Context, req wire.CallerRequest) ([]s4t.Subnet, error) {
	if err := allow(req.Caller, "list subnets", s4t.RoleReader); err != nil {
		return nil, err
	}
	return view(ctx, c, func(tx *store.Tx) ([]s4t.Subnet, error) { return tx.Subnets(scope(req.Caller)) })
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
	if err != nil || !sees(req.Caller, sn.Project) {
		return s4t.Subnet{}, s4t.Errorf(s4t.NotFound, op, "`s4t subnet list` shows what there is", "it does not exist")
	}
	return sn, nil
}
