//go:build linux

package link

import (
	"errors"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// The Linux kernel's bridge, not the bridge of the paper's Fig. 3: where a port
// is bridged to an interface of its board, both are members of one.

// errOwnAddresses refuses to enslave an interface that is in use.
var errOwnAddresses = errors.New("the interface has IP addresses of its own, which would stop working")

// applyBridge makes a kernel bridge, see [vnet.Bridge].
func applyBridge(op vnet.Bridge) (changed bool, err error) {
	l, err := netlink.LinkByName(op.Name)
	if err == nil {
		if _, ok := l.(*netlink.Bridge); !ok {
			return false, errors.New("a device of that name is there, but it is no kernel bridge")
		}
		return false, nil
	}
	if missing := (netlink.LinkNotFoundError{}); !errors.As(err, &missing) {
		return false, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = op.Name
	snooping := false
	err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping})
	if errors.Is(err, unix.EEXIST) {
		return false, nil // made by another since we looked
	}
	return err == nil, err
}

// applyMaster enslaves a device, see [vnet.Master].
func applyMaster(op vnet.Master) (changed bool, err error) {
	master, err := netlink.LinkByName(op.Bridge)
	if err != nil {
		return false, err
	}
	return change(op.Name, func(l netlink.Link) (bool, error) {
		switch {
		case l.Attrs().MasterIndex == master.Attrs().Index:
			return false, nil
		case l.Attrs().MasterIndex != 0:
			return false, errors.New("the interface is in another bridge already")
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return false, err
		}
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				return false, errOwnAddresses
			}
		}
		if l.Attrs().Flags&net.FlagUp == 0 && l.Type() != "tuntap" {
			// For Sweep, which may run in another process.
			if err := netlink.LinkSetAlias(master, wasDown+op.Name); err != nil {
				return false, err
			}
		}
		return true, netlink.LinkSetMaster(l, master)
	})
}

// wasDown begins the alias of a kernel bridge of ours whose interface was down
// before it was put there; its name follows.
const wasDown = "was down: "

// Sweep removes what plans of ours have left behind: devices go by themselves
// with the process that opened them; kernel bridges, and the routing rules of
// [vnet.NoForward], do not. A bridge, or the rules of a device or bridge, that
// keep names stays. The members of a bridge are set free, and down if they were
// before.
func Sweep(keep func(name string) bool) error {
	links, err := netlink.LinkList()
	if err != nil {
		return s4t.Errorf(s4t.Internal, "list the devices of this host", "", "%w", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if _, ok := l.(*netlink.Bridge); !ok || !strings.HasPrefix(name, vnet.BridgePrefix) || keep(name) {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			return s4t.Errorf(s4t.Internal, "remove kernel bridge "+name, "", "%w", err)
		}
		if member, ok := strings.CutPrefix(l.Attrs().Alias, wasDown); ok {
			if m, err := netlink.LinkByName(member); err == nil && m.Attrs().MasterIndex == 0 {
				netlink.LinkSetDown(m) // at worst it stays up
			}
		}
	}
	return sweepRules(keep)
}

func sweepRules(keep func(name string) bool) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := netlink.RuleList(family)
		if err != nil {
			continue // a kernel without rules
		}
		for _, r := range rules {
			if !ownRule(r) || keep(r.IifName) {
				continue
			}
			r.Family, r.Type = family, unix.RTN_BLACKHOLE
			if err := netlink.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
				return s4t.Errorf(s4t.Internal, "remove the routing rule of device "+r.IifName, "", "%w", err)
			}
		}
	}
	return nil
}
