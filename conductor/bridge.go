package conductor

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/vnet"
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
	received := c.cfg.Now()
	op := fmt.Sprintf("create bridge %q", req.Name)
	if err := checkBridge(op, &req); err != nil {
		return s4t.Operation{}, err
	}
	return c.operate(ctx, req.Caller, kindBridgeCreate, req.Name, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		boards, err := ch.boardsFor(req.Caller, op, req.Boards, req.Caller.Project, req.RequireOnline)
		if err != nil {
			return nil, err
		}
		agent, err := ch.place(op)
		if err != nil {
			return nil, err
		}
		n := s4t.Network{
			ID: s4t.NetworkID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, Layer: req.Layer, Encapsulation: req.Encapsulation,
			MTU: req.MTU, Key: newKey(), TunnelAgent: agent.ID, CreatedAt: ch.now,
		}
		prefixes, err := ch.chooseSubnets(op, req, boards)
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
		ports, err := ch.addPorts(op, n, boards, req.Guards)
		if err != nil {
			return nil, err
		}
		ch.touchAgent(agent.ID)
		ch.event(s4t.Event{Kind: "bridge.created", Project: b.Project, Object: string(b.ID), Name: b.Name})
		return ch.begin(kindBridgeCreate, b.Project, string(b.ID), b.Name, received, awaits{Network: n.ID, Ports: ports}), nil
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
		if !met(err) {
			break
		}
	}
	if err != nil {
		return s4t.Operation{}, err
	}
	return c.operationGet(ctx, wire.OperationGet{Caller: caller, ID: id})
}

// met reports whether err says that a random choice was taken.
func met(err error) bool {
	for _, column := range []string{"networks.gre_key", "ports.mac", "ports.interface", "ports.gre_local", "addresses.address", "services.public_port"} {
		if store.IsUnique(err, column) {
			return true
		}
	}
	return false
}

// newKey makes the GRE key of a network: any number but 0, which some
// equipment takes for "no key".
func newKey() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return max(1, binary.BigEndian.Uint32(b[:]))
}

// checkBridge checks all of a request that can be checked without looking
// anything up, and fills in the defaults.
func checkBridge(op string, req *wire.BridgeCreate) error {
	bad := func(hint, format string, args ...any) error {
		return s4t.Errorf(s4t.Invalid, op, hint, format, args...)
	}
	if err := s4t.ValidName("bridge", req.Name); err != nil {
		return err
	}
	if len(req.Boards) == 0 {
		return bad("name boards with --board", "a bridge needs a board")
	}
	if req.Layer == 0 {
		req.Layer = 2
	}
	if req.Encapsulation == "" {
		req.Encapsulation = s4t.EncapEthernet
	}
	switch {
	case req.Layer != 2 && req.Layer != 3:
		return bad("use 2 or 3", "there is no layer %d", req.Layer)
	case req.Encapsulation != s4t.EncapEthernet && req.Encapsulation != s4t.EncapGRE:
		return bad("use ethernet or gre", "there is no encapsulation %q", req.Encapsulation)
	case req.Encapsulation == s4t.EncapGRE && req.Layer == 3:
		return bad("use --layer 2 with gre, or --encapsulation ethernet with layer 3", "gre carries Ethernet frames, which layer 3 has none of")
	case req.Layer == 3 && req.CIDR == none && (req.CIDR6 == "" || req.CIDR6 == none):
		return bad("leave --cidr out, or use --layer 2", "a layer-3 network forwards by address and cannot be without")
	}
	if req.MTU == 0 {
		req.MTU = s4t.DefaultMTU
		if req.Encapsulation == s4t.EncapGRE { // what a kernel gretap with a key has on the other end
			req.MTU = vnet.GREMTU(s4t.DefaultMTU)
		}
	}
	if req.MTU < s4t.MinMTU || req.MTU > s4t.MaxMTU {
		return bad(fmt.Sprintf("use %d to %d", s4t.MinMTU, s4t.MaxMTU), "an MTU of %d is not possible", req.MTU)
	}
	if req.CIDR6 != "" && req.CIDR6 != none && req.MTU < vnet.MinIPv6MTU {
		return bad(fmt.Sprintf("use --mtu %d or more, or leave --cidr6 out", vnet.MinIPv6MTU), "IPv6 does not run with an MTU of %d", req.MTU)
	}
	for _, cidr := range []struct {
		text string
		v4   bool
	}{{req.CIDR, true}, {req.CIDR6, false}} {
		if cidr.text == "" || cidr.text == none {
			continue
		}
		p, err := netip.ParsePrefix(cidr.text)
		if err != nil || p.Addr().Is4() != cidr.v4 {
			return bad("write it like 10.77.0.0/24 (--cidr) or fd00:77::/64 (--cidr6)", "%q is not a subnet of its family", cidr.text)
		}
		if err := vnet.ValidatePrefix(p); err != nil {
			return err
		}
	}
	return checkGuards(op, req.Layer, req.Guards)
}

// checkGuards checks what a user lifts for a port.
func checkGuards(op string, layer int, g s4t.PortGuards) error {
	if g.StormLimit < 0 || g.RateLimit < 0 {
		return s4t.Errorf(s4t.Invalid, op, "use 0 for the default", "a limit is negative")
	}
	if g.BridgeTo == "" {
		return nil
	}
	if layer != 2 {
		return s4t.Errorf(s4t.Invalid, op, "use --layer 2", "only a layer-2 network can be bridged to an interface")
	}
	return vnet.ValidInterfaceName(g.BridgeTo)
}

// boardsFor finds the boards of a request: each exists, is of the project, and
// is named once.
func (ch *change) boardsFor(caller wire.Caller, op string, refs []string, project s4t.ProjectID, online bool) ([]store.Board, error) {
	if len(refs) == 0 {
		return nil, s4t.Errorf(s4t.Invalid, op, "name boards with --board", "no board is named")
	}
	if len(refs) > s4t.MaxBridgePorts {
		return nil, s4t.Errorf(s4t.TooMany, op, "make several bridges", "%d boards, a bridge takes %d", len(refs), s4t.MaxBridgePorts)
	}
	var boards []store.Board
	var away []string
	seen := map[s4t.BoardID]bool{}
	for _, ref := range refs {
		b, err := findBoard(ch.Tx, caller, op, ref)
		switch {
		case err != nil:
			return nil, err
		case b.Project != project:
			return nil, s4t.Errorf(s4t.Invalid, op, "use boards of the bridge's project", "board %q belongs to another project", ref)
		case seen[b.ID]:
			return nil, s4t.Errorf(s4t.Invalid, op, "name it once", "board %q is named twice", ref)
		}
		seen[b.ID] = true
		boards = append(boards, b)
		if b.Status != s4t.BoardOnline {
			away = append(away, b.Name)
		}
	}
	if online && len(away) > 0 {
		return nil, s4t.Errorf(s4t.Offline, op, "start lightning-rod there, or leave --require-online out", "not online: %s", strings.Join(away, ", "))
	}
	return boards, nil
}

// chooseSubnets returns the subnets of a new network: those asked for, if they
// overlap no other bridge of these boards, else a free one. IPv6 is given only
// where it was asked for.
func (ch *change) chooseSubnets(op string, req wire.BridgeCreate, boards []store.Board) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, cidr := range []string{req.CIDR, req.CIDR6} {
		if cidr != "" && cidr != none {
			prefixes = append(prefixes, netip.MustParsePrefix(cidr)) // checkBridge parsed it
		}
	}
	for _, b := range boards {
		if err := ch.noOverlap(op, b, "", prefixes); err != nil {
			return nil, err
		}
	}
	if req.CIDR != "" {
		return prefixes, nil
	}
	// Apart from every network of the project, so that a board can join any
	// two of its bridges later.
	networks, err := ch.Networks(req.Caller.Project)
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, n := range networks {
		for _, sn := range n.Subnets {
			used = append(used, sn.CIDR)
		}
	}
	p := vnet.ChoosePrefix(used)
	if !p.IsValid() {
		return nil, s4t.Errorf(s4t.TooMany, op, "give one with --cidr, or delete bridges", "no subnet is free to choose")
	}
	return append([]netip.Prefix{p}, prefixes...), nil
}

// noOverlap checks that a board is on no other network with addresses of
// prefixes: it could not tell the two apart.
func (ch *change) noOverlap(op string, b store.Board, except s4t.NetworkID, prefixes []netip.Prefix) error {
	networks, err := ch.NetworksOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, n := range networks {
		for _, sn := range n.Subnets {
			for _, p := range prefixes {
				if n.ID != except && p.Overlaps(sn.CIDR) {
					return s4t.Errorf(s4t.Conflict, op, "give another --cidr", "%v overlaps %v of bridge %q, which board %q is on", p, sn.CIDR, n.Name, b.Name)
				}
			}
		}
	}
	return nil
}

// addPorts reserves a port for each board on a network that exists: a MAC, an
// address of each subnet, the name of the device, outer addresses for GRE.
func (ch *change) addPorts(op string, n s4t.Network, boards []store.Board, guards s4t.PortGuards) ([]s4t.PortID, error) {
	taken, err := ch.TakenAddresses(n.ID)
	if err != nil {
		return nil, err
	}
	var ids []s4t.PortID
	for i, b := range boards {
		p := store.Port{
			Port: s4t.Port{
				ID: s4t.PortID(s4t.NewID()), Network: n.ID, Project: n.Project, Board: b.Name, BoardID: b.ID, Addresses: []string{}, Guards: guards, Status: s4t.PortPending,
			},
			CreatedAt: ch.now.Add(time.Duration(i) * time.Microsecond), // lists keep the order of the request
		}
		p.Interface = vnet.InterfaceName(p.ID)
		if n.Layer == 2 {
			p.MAC = vnet.MAC(p.ID)
		}
		for _, sn := range n.Subnets {
			addr, ok := vnet.NextFree(sn.CIDR, func(a netip.Addr) bool { return taken[a] })
			if !ok {
				return nil, s4t.Errorf(s4t.Conflict, op, "use a larger --cidr", "no address is left in %v for board %q", sn.CIDR, b.Name)
			}
			taken[addr] = true
			p.Addresses = append(p.Addresses, netip.PrefixFrom(addr, sn.CIDR.Bits()).String())
		}
		if n.Encapsulation == s4t.EncapGRE {
			local, err := ch.newOuter(op)
			if err != nil {
				return nil, err
			}
			p.GRE = &s4t.PortGRE{Local: local.String()}
		}
		if err := ch.InsertPort(p); err != nil {
			if store.IsUnique(err, "ports.network") {
				return nil, s4t.Errorf(s4t.Conflict, op, "leave it out", "board %q is on this bridge already", b.Name)
			}
			return nil, err
		}
		ch.touchBoard(b.ID)
		ids = append(ids, p.ID)
	}
	ch.touchAgent(n.TunnelAgent)
	ch.networks[n.ID] = true
	return ids, nil
}

// newOuter chooses the outer address of a port for GRE out of 100.64.0.0/10,
// at random: there are four million.
func (ch *change) newOuter(op string) (netip.Addr, error) {
	for range 64 {
		k := newKey()
		a := netip.AddrFrom4([4]byte{100, 64 | byte(k>>16)&0x3f, byte(k >> 8), byte(k)})
		if last := a.As4()[3]; last == 0 || last == 255 || a.String() == agentOuter {
			continue
		}
		taken, err := ch.GRELocalTaken(a)
		if err != nil || !taken {
			return a, err
		}
	}
	return netip.Addr{}, s4t.Errorf(s4t.TooMany, op, "delete bridges with encapsulation gre", "no outer address is free")
}

// bridgeAdd adds boards to a bridge; the others notice nothing.
func (c *Conductor) bridgeAdd(ctx context.Context, req wire.BridgeChange) (s4t.Operation, error) {
	received := c.cfg.Now()
	op := fmt.Sprintf("add boards to bridge %q", req.Ref)
	return c.operate(ctx, req.Caller, kindBridgeAdd, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, n, present, err := ch.bridge(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		if err := checkGuards(op, n.Layer, req.Guards); err != nil {
			return nil, err
		}
		boards, err := ch.boardsFor(req.Caller, op, req.Boards, b.Project, req.RequireOnline)
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
		for _, board := range boards {
			if _, ok := present[board.ID]; ok {
				return nil, s4t.Errorf(s4t.Conflict, op, "leave it out", "board %q is on this bridge already", board.Name)
			}
			if err := ch.noOverlap(op, board, n.ID, prefixes); err != nil {
				return nil, err
			}
		}
		ports, err := ch.addPorts(op, n, boards, req.Guards)
		if err != nil {
			return nil, err
		}
		return ch.begin(kindBridgeAdd, b.Project, string(b.ID), b.Name, received, awaits{Network: n.ID, Ports: ports}), nil
	})
}

// bridge finds a bridge for a changing request, with its network and its
// ports by board.
func (ch *change) bridge(caller wire.Caller, op, ref string, rec *s4t.AuditRecord) (store.Bridge, s4t.Network, map[s4t.BoardID]store.Port, error) {
	b, err := findBridge(ch.Tx, caller, op, ref)
	if err != nil {
		return b, s4t.Network{}, nil, err
	}
	rec.Object, rec.Name, rec.Project = string(b.ID), b.Name, b.Project
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
	received := c.cfg.Now()
	op := fmt.Sprintf("remove boards from bridge %q", req.Ref)
	return c.operate(ctx, req.Caller, kindBridgeRemove, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, _, present, err := ch.bridge(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		boards, err := ch.boardsFor(req.Caller, op, req.Boards, b.Project, false)
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
		return ch.begin(kindBridgeRemove, b.Project, string(b.ID), b.Name, received, awaits{}), nil
	})
}

// bridgeDelete deletes a bridge with its network and ports.
func (c *Conductor) bridgeDelete(ctx context.Context, req wire.RefRequest) (s4t.Operation, error) {
	received := c.cfg.Now()
	op := fmt.Sprintf("delete bridge %q", req.Ref)
	return c.operate(ctx, req.Caller, kindBridgeDelete, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, n, present, err := ch.bridge(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		for _, p := range present {
			if err := ch.removePort(p); err != nil {
				return nil, err
			}
		}
		if err := ch.DeleteNetwork(n.ID); err != nil {
			return nil, err
		}
		ch.touchAgent(n.TunnelAgent)
		ch.event(s4t.Event{Kind: "bridge.deleted", Project: b.Project, Object: string(b.ID), Name: b.Name})
		return ch.begin(kindBridgeDelete, b.Project, string(b.ID), b.Name, received, awaits{}), nil
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
func (c *Conductor) bridgeList(ctx context.Context, req wire.CallerRequest) ([]s4t.Bridge, error) {
	if err := allow(req.Caller, "list bridges", s4t.RoleReader); err != nil {
		return nil, err
	}
	return view(ctx, c, func(tx *store.Tx) ([]s4t.Bridge, error) {
		stored, err := tx.Bridges(scope(req.Caller))
		if err != nil {
			return nil, err
		}
		networks, err := tx.Networks(scope(req.Caller))
		if err != nil {
			return nil, err
		}
		all, err := tx.Ports(scope(req.Caller))
		if err != nil {
			return nil, err
		}
		byID := map[s4t.NetworkID]s4t.Network{}
		for _, n := range networks {
			byID[n.ID] = n
		}
		ports := map[s4t.NetworkID][]store.Port{}
		for _, p := range all {
			ports[p.Network] = append(ports[p.Network], p)
		}
		bridges := make([]s4t.Bridge, len(stored))
		for i, b := range stored {
			bridges[i] = shownBridge(b, byID[b.Network], ports[b.Network])
		}
		return bridges, nil
	})
}
