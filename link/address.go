//go:build linux

package link

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/vnet"
)

// The addresses of a device, see [vnet.Addresses]. Each family is on its own:
// where IPv6 cannot be had IPv4 is.

func applyAddresses(l netlink.Link, want []netip.Prefix, shared bool) (changed bool, err error) {
	var failed error
	for _, six := range []bool{false, true} {
		var of []netip.Prefix
		for _, p := range want {
			if p.Addr().Is6() == six {
				of = append(of, p)
			}
		}
		some, err := applyFamily(l, six, of, shared)
		changed = changed || some
		if err != nil && six {
			err = whyNoIPv6(l.Attrs().Name, err)
		}
		failed = cmp.Or(failed, err)
	}
	return changed, failed
}

// applyFamily makes want all the addresses of a device of one family; where it
// is shared, it makes sure that they are there.
func applyFamily(l netlink.Link, six bool, want []netip.Prefix, shared bool) (changed bool, err error) {
	family := netlink.FAMILY_V4
	if six {
		family = netlink.FAMILY_V6
	}
	now, err := netlink.AddrList(l, family)
	if err != nil {
		return false, err
	}
	for _, a := range now {
		p := prefixOf(a)
		if shared || slices.Contains(want, p) || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue
		}
		changed = true
		if err := netlink.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return changed, err
		}
	}
	// Looked up again: with the first address of a subnet the kernel removes the
	// others of it.
	if now, err = netlink.AddrList(l, family); err != nil {
		return changed, err
	}
	for _, p := range want {
		if slices.ContainsFunc(now, func(a netlink.Addr) bool { return prefixOf(a) == p }) {
			continue
		}
		a := &netlink.Addr{IPNet: networkFor(p)}
		if six {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(l, a); err != nil {
			return changed, err
		}
		changed = true
	}
	routed, err := applyRoutes(l, family, want)
	return changed || routed, err
}

// applyRoutes puts back routes to the subnets of a device that is up, which the
// kernel made with the addresses and somebody has removed.
func applyRoutes(l netlink.Link, family int, want []netip.Prefix) (changed bool, err error) {
	if l.Attrs().Flags&net.FlagUp == 0 || len(want) == 0 {
		return false, nil // they come when it is set up
	}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return false, err
	}
	for _, p := range want {
		to := p.Masked()
		if p.IsSingleIP() || slices.ContainsFunc(routes, func(r netlink.Route) bool { n, ok := networkOf(r.Dst); return ok && n == to }) {
			continue
		}
		r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: networkFor(to), Protocol: unix.RTPROT_KERNEL}
		if family == netlink.FAMILY_V4 {
			r.Scope, r.Src = netlink.SCOPE_LINK, p.Addr().AsSlice()
		} else {
			r.Priority = 256 // IP6_RT_PRIO_ADDRCONF
		}
		if err := netlink.RouteReplace(r); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// whyNoIPv6 finds out what stands behind an error of a device's IPv6
// addresses: the kernel says no more than EACCES where IPv6 is off.
func whyNoIPv6(name string, err error) error {
	if _, missing := os.Stat("/proc/sys/net/ipv6"); missing != nil {
		return fmt.Errorf("%w: this kernel was built, or booted (ipv6.disable=1), without it", ErrNoIPv6)
	}
	off := vnet.Sysctl{Path: "net/ipv6/conf/" + name + "/disable_ipv6", Value: "0"}
	if sysctl(off.Path) != "1" {
		return fmt.Errorf("%w: %w", ErrNoIPv6, err)
	}
	if _, err := applySysctl(off); err != nil {
		_, hint := refusal(err)
		return fmt.Errorf("%w: it is off on this device (%s=1) and cannot be switched on: %w; %s", ErrNoIPv6, strings.ReplaceAll(off.Path, "/", "."), err, hint)
	}
	return fmt.Errorf("%w: it was off on this device", ErrNoIPv6) // and is there at the next try
}

// prefixOf returns an address with the length of its subnet.
func prefixOf(a netlink.Addr) netip.Prefix {
	ip, _ := netip.AddrFromSlice(a.IP)
	ones, _ := a.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones)
}

// networkFor converts what netlink takes.
func networkFor(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
