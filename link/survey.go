//go:build linux

package link

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/stack4things/s4t"
)

// Survey is what a machine's network looks like. It needs no rights.
type Survey struct {
	Interfaces []Interface
	Routes     []Route // of the main table, to an interface
}

// Interface is one of the machine's interfaces.
type Interface struct {
	Name      string
	Loopback  bool
	Up        bool           // switched on, and with a carrier
	Addresses []netip.Prefix // with the length of the network
}

// Route leads to a network through an interface.
type Route struct {
	To        netip.Prefix // of length 0: the default route
	Interface string
}

// Default reports whether there is a default route for IPv6, or for IPv4.
func (s Survey) Default(six bool) bool {
	for _, r := range s.Routes {
		if r.To.Bits() == 0 && r.To.Addr().Is6() == six {
			return true
		}
	}
	return false
}

// TakeSurvey surveys this machine's network.
func TakeSurvey() (Survey, error) {
	const op = "look at this machine's interfaces"
	links, err := netlink.LinkList()
	if err != nil {
		return Survey{}, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	var s Survey
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		// A device without a carrier detection of its own says "unknown".
		up := a.Flags&net.FlagUp != 0 && (a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown)
		i := Interface{Name: a.Name, Loopback: a.Flags&net.FlagLoopback != 0, Up: up}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			continue // gone since it was listed
		}
		for _, a := range addrs {
			if p, ok := networkOf(a.IPNet); ok {
				i.Addresses = append(i.Addresses, p)
			}
		}
		s.Interfaces = append(s.Interfaces, i)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			return Survey{}, s4t.Errorf(s4t.Internal, op, "", "list routes: %w", err)
		}
		for _, r := range routes {
			to, ok := networkOf(r.Dst)
			if r.Dst == nil {
				to, ok = netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
				if family == netlink.FAMILY_V6 {
					to = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
				}
			}
			hop := r.LinkIndex
			if hop == 0 && len(r.MultiPath) > 0 {
				hop = r.MultiPath[0].LinkIndex
			}
			if name := names[hop]; ok && name != "" {
				s.Routes = append(s.Routes, Route{To: to, Interface: name})
			}
		}
	}
	return s, nil
}

// networkOf converts what netlink gives.
func networkOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}
