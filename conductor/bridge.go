package conductor

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Step 3 of the paper's Fig. 3: the conductor checks every board, places the
// network on a tunnel agent, reserves addresses and MACs, and writes desired
// state and operation in one transaction.

// Kinds of the operations on bridges.
const (
	kindBridgeCreate = "bridge.create"
	kindBridgeDelete = "bridge.delete"
	kindBridgeAdd    = "bridge.add"
	kindBridgeRemove = "bridge.remove"
)

// none asks for a network without addresses of a family.
const none = "none"

// attempts at a request whose random choices (keys, MACs, public ports) met
// others; each attempt chooses anew.
const attempts = 5

// bridgeCreate makes a network with a port for each board.
func (c *Conductor) bridgeCreate(ctx context.Context, req wire.BridgeCreate) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("create bridge %q", req.Name)
	var err error
	if req.Boards, err = c.meant(ctx, req.Caller, op, req.Boards, req.Fleet, nil); err != nil {
		return s4t.Operation{}, err
	}
	if err := checkBridge(op, &req); err != nil {
		return s4t.Operation{}, err
	}
	cloud, err := c.cloudAddresses(ctx)
	if err != nil {
		return s4t.Operation{}, err
	}
	return c.operate(ctx, req.Caller, kindBridgeCreate, req.Name, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		if err := ch.Claim(op, req.Caller.Project, s4t.QuotaNetworks, 1); err != nil {
			return nil, err
		}
		if err := ch.Claim(op, req.Caller.Project, s4t.QuotaPorts, len(req.Boards)); err != nil {
			return nil, err
		}
		boards, rights, err := ch.boardsFor(req.Caller, op, wire.MethodBridgeCreate, req.Boards, req.Caller.Project, req.RequireOnline)
		if err != nil {
			return nil, err
		}
		agent, err := ch.place(op, boards[0].Labels[placeLabel])
		if err != nil {
			return nil, err
		}
		n := s4t.Network{
			ID: s4t.NetworkID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, Layer: req.Layer, Encapsulation: req.Encapsulation,
			MTU: req.MTU, Key: newKey(), TunnelAgent: agent.ID, CreatedAt: ch.now,
		}
		prefixes, err := ch.chooseSubnets(op, req, boards, cloud)
		if err != nil {
			return nil, err
		}
		for _, p := range prefixes {
			n.Subnets = append(n.Subnets, s4t.Subnet{ID: s4t.SubnetID(s4t.NewID()), Network: n.ID, Project: n.Project, CIDR: p})
		}
		b := store.Bridge{ID: s4t.BridgeID(s4t.NewID()), Project: n.Project, Name: req.Name, Network: n.ID, Status: s4t.BridgeDown, CreatedAt: ch.now}
		rec.Object = string(b.ID)
		if err := ch.InsertNetwork(n); err != nil {
			return nil, err
		}
		if err := ch.InsertBridge(b); err != nil {
			if store.IsUnique(err, "bridges.name") {
				return nil, s4t.Errorf(s4t.Conflict, op, "choose another name, or use `s4t bridge add`", "the project has a bridge of this name")
			}
			return nil, err
		}
		ports, err := ch.addPorts(op, n, agent, boards, rights, req.Guards)
		if err != nil {
			return nil, err
		}
		ch.event(s4t.Event{Kind: "bridge.created", Project: b.Project, Object: string(b.ID), Name: b.Name})
		return ch.begin(kindBridgeCreate, b.Project, string(b.ID), b.Name, received, ports...), nil
	})
}

// operate runs a request that is an operation: fn begins it. Where a random
// choice met another, it runs again with a new one.
func (c *Conductor) operate(ctx context.Context, caller wire.Caller, action, name string, fn func(*change, *s4t.AuditRecord) (*s4t.Operation, error)) (s4t.Operation, error) {
	var id s4t.OperationID
	var err error
	for range attempts {
		err = c.request(ctx, caller, action, name, func(ch *change, rec *s4t.AuditRecord) error {
			op, err := fn(ch, rec)
			if err == nil {
				id = op.ID
			}
			return err
		})
		if !isCollision(err) {
			break
		}
	}
	if err != nil {
		return s4t.Operation{}, err
	}
	return c.operationGet(ctx, wire.OperationGet{Caller: caller, ID: id})
}

// isCollision reports whether err says that a random choice was taken.
func isCollision(err error) bool {
	for _, column := range []string{"networks.gre_key", "ports.mac", "ports.interface", "ports.gre_local", "addresses.address", "services.public_port"} {
		if store.IsUnique(err, column) {
			return true
		}
	}
	return false
}

// bridgeAdd adds boards to a bridge; the others notice nothing.
func (c *Conductor) bridgeAdd(ctx context.Context, req wire.BridgeChange) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("add boards to bridge %q", req.Ref)
	var err error
	if req.Boards, err = c.meant(ctx, req.Caller, op, req.Boards, req.Fleet, onBridge(req.Caller, op, req.Ref, false)); err != nil {
		return s4t.Operation{}, err
	}
	cloud, err := c.cloudAddresses(ctx)
	if err != nil {
		return s4t.Operation{}, err
	}
	return c.operate(ctx, req.Caller, kindBridgeAdd, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, n, present, err := ch.bridge(req.Caller, op, req.Ref, len(req.Boards), rec)
		if err != nil {
			return nil, err
		}
		if err := checkGuards(op, n.Layer, req.Guards); err != nil {
			return nil, err
		}
		boards, rights, err := ch.boardsFor(req.Caller, op, wire.MethodBridgeAdd, req.Boards, b.Project, req.RequireOnline)
		if err != nil {
			return nil, err
		}
		if len(present)+len(boards) > s4t.MaxBridgePorts {
			return nil, s4t.Errorf(s4t.TooMany, op, "make another bridge", "it has %d boards, a bridge takes %d", len(present), s4t.MaxBridgePorts)
		}
		var prefixes []netip.Prefix
		for _, sn := range n.Subnets {
			prefixes = append(prefixes, sn.CIDR)
		}
		if err := clearOfCloud(op, prefixes, cloud); err != nil {
			return nil, err
		}
		for _, board := range boards {
			if _, ok := present[board.ID]; ok {
				return nil, s4t.Errorf(s4t.Conflict, op, "leave it out", "board %q is on this bridge already", board.Name)
			}
			if err := ch.noOverlap(op, board, n.Project, n.ID, prefixes); err != nil {
				return nil, err
			}
		}
		if err := ch.mayLift(req.Caller, op, n, req.Guards, boards, rec); err != nil {
			return nil, err
		}
		agent, err := ch.Agent(n.TunnelAgent)
		if err != nil {
			return nil, err
		}
		ports, err := ch.addPorts(op, n, agent, boards, rights, req.Guards)
		if err != nil {
			return nil, err
		}
		return ch.begin(kindBridgeAdd, b.Project, string(b.ID), b.Name, received, ports...), nil
	})
}

// bridge finds a bridge for a changing request that adds so many ports, with its
// network and its ports by board.
func (ch *change) bridge(caller wire.Caller, op, ref string, more int, rec *s4t.AuditRecord) (store.Bridge, s4t.Network, map[s4t.BoardID]store.Port, error) {
	b, err := findBridge(ch.Tx, caller, op, ref)
	if err != nil {
		return b, s4t.Network{}, nil, err
	}
	rec.Object, rec.Name, rec.Project = string(b.ID), b.Name, b.Project
	if more > 0 {
		if err := ch.Claim(op, b.Project, s4t.QuotaPorts, more); err != nil {
			return b, s4t.Network{}, nil, err
		}
	}
	if _, err := ch.LockNetwork(b.Network); err != nil { // who is on it stays so
		return b, s4t.Network{}, nil, err
	}
	n, err := ch.Network(b.Network)
	if err != nil {
		return b, n, nil, err
	}
	ports, err := ch.PortsOfNetwork(n.ID)
	if err != nil {
		return b, n, nil, err
	}
	present := make(map[s4t.BoardID]store.Port, len(ports))
	for _, p := range ports {
		present[p.BoardID] = p
	}
	return b, n, present, nil
}

// bridgeRemove takes boards off a bridge; the others notice nothing.
func (c *Conductor) bridgeRemove(ctx context.Context, req wire.BridgeChange) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("remove boards from bridge %q", req.Ref)
	var err error
	if req.Boards, err = c.meant(ctx, req.Caller, op, req.Boards, req.Fleet, onBridge(req.Caller, op, req.Ref, true)); err != nil {
		return s4t.Operation{}, err
	}
	return c.operate(ctx, req.Caller, kindBridgeRemove, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, _, present, err := ch.bridge(req.Caller, op, req.Ref, 0, rec)
		if err != nil {
			return nil, err
		}
		boards, _, err := ch.boardsFor(req.Caller, op, wire.MethodBridgeRemove, req.Boards, b.Project, false)
		if err != nil {
			return nil, err
		}
		for _, board := range boards {
			p, ok := present[board.ID]
			if !ok {
				return nil, s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t bridge show %s` lists its boards", b.Name), "board %q is not on it", board.Name)
			}
			if err := ch.removePort(p); err != nil {
				return nil, err
			}
		}
		return ch.begin(kindBridgeRemove, b.Project, string(b.ID), b.Name, received), nil
	})
}

// bridgeDelete deletes a bridge with its network and ports.
func (c *Conductor) bridgeDelete(ctx context.Context, req wire.RefRequest) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("delete bridge %q", req.Ref)
	return c.operate(ctx, req.Caller, kindBridgeDelete, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, n, present, err := ch.bridge(req.Caller, op, req.Ref, 0, rec)
		if err != nil {
			return nil, err
		}
		for _, p := range present {
			if err := ch.removePort(p); err != nil {
				return nil, err
			}
		}
		if err := ch.removeNetwork(n); err != nil {
			return nil, err
		}
		ch.event(s4t.Event{Kind: "bridge.deleted", Project: b.Project, Object: string(b.ID), Name: b.Name})
		return ch.begin(kindBridgeDelete, b.Project, string(b.ID), b.Name, received), nil
	})
}

// shownBridge puts a bridge together as a user sees it.
func shownBridge(b store.Bridge, n s4t.Network, ports []store.Port) s4t.Bridge {
	shown := s4t.Bridge{
		ID: b.ID, Name: b.Name, Project: b.Project, Layer: n.Layer, Encapsulation: n.Encapsulation, MTU: n.MTU, Network: n.ID,
		Ports: []s4t.Port{}, CreatedAt: b.CreatedAt,
	}
	for _, sn := range n.Subnets {
		if sn.CIDR.Addr().Is4() {
			shown.CIDR = sn.CIDR.String()
		} else {
			shown.CIDR6 = sn.CIDR.String()
		}
	}
	for _, p := range ports {
		shown.Ports = append(shown.Ports, shownPort(p))
	}
	shown.Status = s4t.StatusOf(shown.Ports)
	return shown
}

// bridgeGet returns a bridge with its ports.
func (c *Conductor) bridgeGet(ctx context.Context, req wire.RefRequest) (s4t.Bridge, error) {
	op := fmt.Sprintf("show bridge %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Bridge{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Bridge, error) {
		b, err := findBridge(tx, req.Caller, op, req.Ref)
		if err != nil {
			return s4t.Bridge{}, err
		}
		n, err := tx.Network(b.Network)
		if err != nil {
			return s4t.Bridge{}, err
		}
		ports, err := tx.PortsOfNetwork(n.ID)
		return shownBridge(b, n, ports), err
	})
}

// bridgeList returns the bridges that the caller sees, by name.
func (c *Conductor) bridgeList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Bridge], error) {
	return list(ctx, c, req.Caller, "list bridges", req.Page, same[s4t.Bridge], func(tx *store.Tx, p wire.Page) (page wire.List[s4t.Bridge], err error) {
		stored, err := tx.Bridges(scope(req.Caller), p)
		if err != nil {
			return page, err
		}
		ids := make([]s4t.NetworkID, len(stored.Items))
		for i, b := range stored.Items {
			ids[i] = b.Network
		}
		networks, err := tx.NetworksByID(ids)
		if err != nil {
			return page, err
		}
		ports, err := tx.PortsOfNetworks(ids)
		if err != nil {
			return page, err
		}
		page = wire.List[s4t.Bridge]{Items: make([]s4t.Bridge, len(ids)), Next: stored.Next, EventID: stored.EventID}
		for i, b := range stored.Items {
			page.Items[i] = shownBridge(b, networks[b.Network], ports[b.Network])
		}
		return page, nil
	})
}
