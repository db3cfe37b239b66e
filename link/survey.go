//go:build linux

package link

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
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

// Reached returns the routes to networks that the machine reaches by itself,
// sorted: through devices that are not ours, and without the default route,
// the two halves of one that a VPN has, and link-local networks.
func (s Survey) Reached() []Route {
	var all []Route
	add := func(r Route) {
		a := r.To.Addr()
		if r.To.Bits() > 1 && !vnet.Own(r.Interface) && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsLoopback() {
			all = append(all, r)
		}
	}
	for _, r := range s.Routes {
		add(r)
	}
	routes := len(all)
	for _, i := range s.Interfaces {
		for _, a := range i.Addresses { // one may have no route
			if !slices.ContainsFunc(all[:routes], func(r Route) bool { return r.To.Contains(a.Addr()) }) {
				add(Route{netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), i.Name})
			}
		}
	}
	slices.SortFunc(all, func(a, b Route) int {
		return cmp.Or(a.To.Addr().Compare(b.To.Addr()), cmp.Compare(a.To.Bits(), b.To.Bits()), cmp.Compare(a.Interface, b.Interface))
	})
	return slices.Compact(all)
}

// Overlap finds the first of routes that leads into network, or that network
// lies in.
func Overlap(routes []Route, network netip.Prefix) (Route, bool) {
	i := slices.IndexFunc(routes, func(r Route) bool { return r.To.Overlaps(network) })
	if i < 0 {
		return Route{}, false
	}
	return routes[i], true
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
