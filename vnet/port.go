package vnet

import (
	"net"
	"net/netip"
	"slices"

	"github.com/stack4things/s4t"
)

const (
	// QueueFrames is the queue of a port's device. It is always drained, so it
	// need hold only what arrives until the reader is scheduled. More would make
	// one burst of what the receiver's socket cannot take at once: its usual
	// 208 KiB are 277 small datagrams (with 1000 a third fewer arrive).
	QueueFrames = 128

	// SuperFrame bounds the super-frames of a device, in bytes. One with the
	// headers of gre still fits an IPv4 packet of 65,535 bytes. Without the bound
	// TCP fills 65,226 of the 65,536 that the kernel has by default, and a TAP
	// that is given such frames is a quarter slower (decision 005).
	SuperFrame = 65000

	// NoForwardRule is the priority of the routing rule of a [NoForward]: right
	// behind the rule for the host's own addresses, which has 0.
	NoForwardRule = 1
)

// Port is the board's half of a port, as the plan needs it: the fields of
// wire.DesiredPort under the same names.
type Port struct {
	ID            s4t.PortID
	Layer         int // 2 or 3
	Encapsulation s4t.Encapsulation
	Interface     string   // of the device
	MAC           string   // layer 2
	Addresses     []string // "10.77.0.2/24"; none: addresses are not our business (DHCP)
	MTU           int
	Guards        s4t.PortGuards
}

// BoardPort returns the ops that realise a port on its board (step 7 of the
// paper's Fig. 3). With Guards.BridgeTo the device and that interface become
// members of a kernel bridge, which gets the port's MAC and addresses.
func BoardPort(p Port) ([]Op, error) {
	mac, addrs, err := p.check()
	if err != nil {
		return nil, err
	}
	ops := []Op{Device{p.Interface, p.Layer}}
	if p.Layer == 2 {
		ops = append(ops, Address{p.Interface, mac})
	}
	ops = append(ops, MTU{p.Interface, p.MTU}, QueueLen{p.Interface, QueueFrames})
	// What a bridge forwards may be larger, and would be cut to single packets.
	if p.Encapsulation == s4t.EncapGRE || p.Guards.BridgeTo == "" {
		ops = append(ops, MaxGSO{p.Interface, SuperFrame})
	}
	if p.Guards.BridgeTo != "" {
		return append(ops, bridgeTo(p, mac, addrs)...), nil
	}
	ops = append(ops, quiet(p.Interface, p.Layer, addrs)...)
	if len(addrs) > 0 {
		ops = append(ops, Addresses{Name: p.Interface, Prefixes: addrs})
	}
	return append(ops, Up{p.Interface}), nil
}

// quiet keeps a device from saying or believing what the user did not ask for.
//
// IPv6: no router advertisement is accepted and no address made from one, so
// that no other board can become this board's router to the Internet and no
// address appears that the guards do not know. A TUN has no link-local
// addresses, as nobody could be asked for them, and no IPv6 at all where it
// has no IPv6 address.
//
// IPv4: ARP speaks of the device's own addresses only. By default Linux
// answers for every address of the host and may ask with another device's
// address as sender, which would show the home LAN to the network and be
// dropped by the guards.
//
// Where the port has an IPv6 address the device has IPv6, also on a host that
// has it off by default.
//
// Nothing that comes in is forwarded, see [NoForward].
func quiet(name string, layer int, addrs []netip.Prefix) []Op {
	v6 := "net/ipv6/conf/" + name + "/"
	v4 := "net/ipv4/conf/" + name + "/"
	six := slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr().Is6() })
	if layer == 3 {
		off := "1"
		if six {
			off = "0"
		}
		return []Op{
			NoForward{name},
			Sysctl{v6 + "addr_gen_mode", "1"}, // none
			Sysctl{v6 + "accept_ra", "0"},
			Sysctl{v6 + "autoconf", "0"},
			Sysctl{v6 + "disable_ipv6", off},
		}
	}
	ops := []Op{
		NoForward{name},
		Sysctl{v6 + "accept_ra", "0"},
		Sysctl{v6 + "autoconf", "0"},
		Sysctl{v4 + "arp_ignore", "1"},
		Sysctl{v4 + "arp_announce", "2"},
	}
	if six {
		ops = append(ops, Sysctl{v6 + "disable_ipv6", "0"})
	}
	return ops
}

// check validates what came from the cloud.
func (p Port) check() (mac net.HardwareAddr, addrs []netip.Prefix, err error) {
	bad := func(format string, args ...any) (net.HardwareAddr, []netip.Prefix, error) {
		return nil, nil, s4t.Errorf(s4t.Invalid, "plan port "+string(p.ID), "", format, args...)
	}
	if err := ValidInterfaceName(p.Interface); err != nil {
		return nil, nil, err
	}
	if p.Layer != 2 && p.Layer != 3 {
		return bad("layer %d is neither 2 nor 3", p.Layer)
	}
	if p.MTU < s4t.MinMTU || p.MTU > s4t.MaxMTU {
		return bad("MTU %d is not between %d and %d", p.MTU, s4t.MinMTU, s4t.MaxMTU)
	}
	if p.Layer == 2 {
		mac, err = net.ParseMAC(p.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return bad("%q is not a unicast MAC address", p.MAC)
		}
	}
	for _, a := range p.Addresses {
		prefix, err := netip.ParsePrefix(a)
		if err != nil {
			return bad("%q is not an address with a prefix length", a)
		}
		if prefix.Addr().Is6() && p.MTU < MinIPv6MTU {
			return bad("IPv6 address %v needs an MTU of at least %d, it is %d", prefix, MinIPv6MTU, p.MTU)
		}
		addrs = append(addrs, prefix)
	}
	if to := p.Guards.BridgeTo; to != "" {
		if p.Layer != 2 {
			return bad("a layer-3 port cannot be bridged to interface %q", to)
		}
		if err := ValidInterfaceName(to); err != nil {
			return nil, nil, err
		}
		if to == p.Interface || to == BridgeName(p.ID) {
			return bad("it cannot be bridged to its own device %q", to)
		}
	}
	return mac, addrs, nil
}
