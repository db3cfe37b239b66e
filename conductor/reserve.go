package conductor

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

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
		if err := privateOnly(op, p, req.AllowPublicCIDR); err != nil {
			return err
		}
	}
	return checkGuards(op, req.Layer, req.Guards)
}

// minRate is the least rate limit, bytes/s: below it a super-frame of 64 KB
// takes longer than a TCP connection waits for.
const minRate = 12_500

// checkGuards checks what a user lifts for a port.
func checkGuards(op string, layer int, g s4t.PortGuards) error {
	if g.StormLimit < 0 || g.RateLimit < 0 {
		return s4t.Errorf(s4t.Invalid, op, "use 0 for the default", "a limit is negative")
	}
	if g.RateLimit > 0 && g.RateLimit < minRate {
		return s4t.Errorf(s4t.Invalid, op, "use 0 for no limit", "a rate limit of %d bytes/s is less than %d", g.RateLimit, minRate)
	}
	if g.Outward != (s4t.OutwardGuards{}) {
		return s4t.Errorf(s4t.Invalid, op, "an admin says it to `s4t network uplink` or `s4t network attach-gre`", "a board's port has no outward guards")
	}
	if g.BridgeTo == "" {
		return nil
	}
	if layer != 2 {
		return s4t.Errorf(s4t.Invalid, op, "use --layer 2", "only a layer-2 network can be bridged to an interface")
	}
	return vnet.ValidInterfaceName(g.BridgeTo)
}

// boardsFor finds the boards of a request: each exists, is the project's or leased to it, and
// is named once.
func (ch *change) boardsFor(caller wire.Caller, op string, u use, refs []string, project s4t.ProjectID, online bool) ([]store.Board, map[s4t.BoardID]right, error) {
	if len(refs) == 0 {
		return nil, nil, s4t.Errorf(s4t.Invalid, op, "name boards with --board", "no board is named")
	}
	if len(refs) > s4t.MaxBridgePorts {
		return nil, nil, s4t.Errorf(s4t.TooMany, op, "make several bridges", "%d boards, a bridge takes %d", len(refs), s4t.MaxBridgePorts)
	}
	if caller.Role.Covers(s4t.RoleAdmin) {
		caller.Project = project // whose names are meant
	}
	var boards []store.Board
	var away []string
	rights := map[s4t.BoardID]right{}
	seen := map[s4t.BoardID]bool{}
	for _, ref := range refs {
		b, by, err := ch.findBoard(caller, op, u, ref)
		switch {
		case err != nil:
			return nil, nil, err
		case by.Project != project:
			return nil, nil, s4t.Errorf(s4t.Invalid, op, "use boards of the bridge's project", "board %q belongs to another project", ref)
		case seen[b.ID]:
			return nil, nil, s4t.Errorf(s4t.Invalid, op, "name it once", "board %q is named twice", ref)
		}
		seen[b.ID] = true
		rights[b.ID] = by
		boards = append(boards, b)
		if b.Status != s4t.BoardOnline {
			away = append(away, b.Name)
		}
	}
	// A board joins one network at a time, so that two requests do not give it
	// addresses that overlap.
	if err := ch.LockBoards(slices.Sorted(maps.Keys(seen))); err != nil {
		return nil, nil, err
	}
	if online && len(away) > 0 {
		return nil, nil, s4t.Errorf(s4t.Offline, op, "start lightning-rod there, or leave --require-online out", "not online: %s", strings.Join(away, ", "))
	}
	return boards, rights, nil
}

// chooseSubnets returns the subnets of a new network: those asked for, if they
// overlap neither another bridge of these boards nor what they reach by
// themselves, nor the cloud; else a free one. IPv6 is given only where it was
// asked for.
func (ch *change) chooseSubnets(op string, req wire.BridgeCreate, boards []store.Board, cloud []netip.Addr) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, cidr := range []string{req.CIDR, req.CIDR6} {
		if cidr != "" && cidr != none {
			prefixes = append(prefixes, netip.MustParsePrefix(cidr)) // checkBridge parsed it
		}
	}
	if err := clearOfCloud(op, prefixes, cloud); err != nil {
		return nil, err
	}
	for _, b := range boards {
		if err := ch.noOverlap(op, b, req.Caller.Project, "", prefixes); err != nil {
			return nil, err
		}
	}
	if req.CIDR != "" {
		return prefixes, nil
	}
	// Apart from every network of the project, so that a board can join any
	// two of its bridges later.
	used, err := ch.UsedPrefixes(req.Caller.Project)
	if err != nil {
		return nil, err
	}
	p := vnet.ChoosePrefix(append(used, occupied(boards, cloud)...))
	if !p.IsValid() {
		return nil, s4t.Errorf(s4t.TooMany, op, "give one with --cidr, or delete bridges", "no subnet is free that hides nothing from these boards")
	}
	return append([]netip.Prefix{p}, prefixes...), nil
}

// noOverlap checks that a board reaches nothing of prefixes by itself, and is on
// no other network with addresses of them: it could not tell the two apart.
func (ch *change) noOverlap(op string, b store.Board, project s4t.ProjectID, except s4t.NetworkID, prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return nil
	}
	if err := clearOfBoard(op, b, prefixes); err != nil {
		return err
	}
	networks, err := ch.NetworksOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, n := range networks {
		for _, sn := range n.Subnets {
			for _, p := range prefixes {
				if n.ID != except && p.Overlaps(sn.CIDR) {
					if n.Project != project {
						return s4t.Errorf(s4t.Conflict, op, "give another --cidr", "%v overlaps what board %q is on for another project", p, b.Name)
					}
					return s4t.Errorf(s4t.Conflict, op, "give another --cidr", "%v overlaps %v of bridge %q, which board %q is on", p, sn.CIDR, n.Name, b.Name)
				}
			}
		}
	}
	return nil
}

// addPorts reserves a port for each board on a network that exists: a MAC, an
// address of each subnet, the name of the device, outer addresses for GRE. rights say by what the
// boards are used.
func (ch *change) addPorts(op string, n s4t.Network, agent store.Agent, boards []store.Board, rights map[s4t.BoardID]right, guards s4t.PortGuards) ([]wire.ResourceKey, error) {
	taken, err := ch.TakenAddresses(n.ID)
	if err != nil {
		return nil, err
	}
	at, err := ch.agentsFor(n, agent, boards)
	if err != nil {
		return nil, err
	}
	guards.AllowAnySource = guards.AllowAnySource || guards.BridgeTo != "" // what is behind that interface speaks for itself
	var keys []wire.ResourceKey
	for i, b := range boards {
		on, err := ch.CountPorts(b.ID)
		if err != nil {
			return nil, err
		}
		if on >= s4t.MaxBridgePorts {
			return nil, s4t.Errorf(s4t.TooMany, op, "remove it from one first", "board %q is on %d bridges, which is the most", b.Name, on)
		}
		p := store.Port{
			Port: s4t.Port{
				ID: s4t.PortID(s4t.NewID()), Network: n.ID, Project: n.Project, Board: b.Name, BoardID: b.ID, Addresses: []string{}, Guards: guards, Status: s4t.PortPending,
			},
			BoardStatus: b.Status, Lease: rights[b.ID].Lease, TunnelAgent: at[i].ID, Layer: n.Layer, Encap: n.Encapsulation,
			CreatedAt: ch.now.Add(time.Duration(i) * time.Microsecond), // lists keep the order of the request
		}
		if p.TunnelAgent != n.TunnelAgent {
			p.OwnAgent = p.TunnelAgent
		}
		p.MTU = n.MTU
		p.Interface = vnet.InterfaceName(p.ID)
		if n.Layer == 2 {
			p.MAC = vnet.MAC(p.ID)
		}
		for _, sn := range n.Subnets {
			addr, ok := vnet.NextFree(sn.CIDR, func(a netip.Addr) bool { return taken[a] })
			if !ok {
				return nil, s4t.Errorf(s4t.Conflict, op, "use a larger --cidr", "no address is left in %v for board %q%s", sn.CIDR, b.Name, vnet.Kept(sn.CIDR))
			}
			taken[addr] = true
			p.Addresses = append(p.Addresses, netip.PrefixFrom(addr, sn.CIDR.Bits()).String())
		}
		if n.Encapsulation == s4t.EncapGRE {
			local, err := ch.newOuter(op)
			if err != nil {
				return nil, err
			}
			p.GRE = &s4t.PortGRE{Local: local.String(), Key: n.Key}
		}
		if err := ch.InsertPort(p); err != nil {
			if store.IsUnique(err, "ports.network") {
				return nil, s4t.Errorf(s4t.Conflict, op, "leave it out", "board %q is on this bridge already", b.Name)
			}
			return nil, err
		}
		ch.wantPortAt(p, at[i])
		keys = append(keys, wire.ResourceKey{Kind: wire.KindPort, ID: string(p.ID)})
	}
	ch.networks[n.ID] = true
	return keys, ch.wantNetwork(n)
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

// newKey makes the GRE key of a network: any number but 0, which some
// equipment takes for "no key".
func newKey() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return max(1, binary.BigEndian.Uint32(b[:]))
}
