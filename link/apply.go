//go:build linux

package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// Apply makes the host match ops, in order. Applying the same ops again
// changes nothing, and tells nobody of a change that is none. On error it names
// the op that failed and leaves the earlier ones in place; the next Apply
// continues from there.
//
// It works in the network namespace of the calling thread.
func Apply(ops []vnet.Op) error {
	for _, op := range ops {
		if err := apply(op); err != nil {
			return applyError(op, err)
		}
	}
	return nil
}

func apply(op vnet.Op) error {
	switch op := op.(type) {
	case vnet.Device:
		return applyDevice(op)
	case vnet.Bridge:
		return applyBridge(op)
	case vnet.Address:
		return change(op.Name, func(l netlink.Link) error {
			if slices.Equal(l.Attrs().HardwareAddr, op.MAC) {
				return nil
			}
			return netlink.LinkSetHardwareAddr(l, op.MAC)
		})
	case vnet.MTU:
		return change(op.Name, func(l netlink.Link) error {
			if l.Attrs().MTU == op.MTU {
				return nil
			}
			return netlink.LinkSetMTU(l, op.MTU)
		})
	case vnet.QueueLen:
		return change(op.Name, func(l netlink.Link) error {
			if l.Attrs().TxQLen == op.Frames {
				return nil
			}
			return netlink.LinkSetTxQLen(l, op.Frames)
		})
	case vnet.MaxGSO:
		return change(op.Name, func(l netlink.Link) error {
			if now := l.Attrs().GSOMaxSize; now == 0 || now <= uint32(op.Bytes) {
				return nil
			}
			return netlink.LinkSetGSOMaxSize(l, op.Bytes)
		})
	case vnet.Sysctl:
		return applySysctl(op)
	case vnet.Addresses:
		return change(op.Name, func(l netlink.Link) error { return applyAddresses(l, op.Prefixes) })
	case vnet.Master:
		return applyMaster(op)
	case vnet.Up:
		return change(op.Name, func(l netlink.Link) error {
			if l.Attrs().Flags&net.FlagUp != 0 {
				return nil
			}
			return netlink.LinkSetUp(l)
		})
	}
	return errors.New("link does not know this operation")
}

// change looks the device up and hands it to f.
func change(name string, f func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return f(l)
}

func applyDevice(op vnet.Device) error {
	want := netlink.TuntapMode(netlink.TUNTAP_MODE_TAP)
	if op.Layer == 3 {
		want = netlink.TUNTAP_MODE_TUN
	}
	return change(op.Name, func(l netlink.Link) error {
		if t, ok := l.(*netlink.Tuntap); !ok || t.Mode != want {
			return errors.New("a device of that name is there, but of another kind")
		}
		return nil
	})
}

// applySysctl writes only what differs: a write tells every listener, even one
// that changes nothing.
func applySysctl(op vnet.Sysctl) error {
	path := filepath.Join("/proc/sys", filepath.FromSlash(op.Path))
	now, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // see vnet.Sysctl
	}
	if err == nil && strings.TrimSpace(string(now)) == op.Value {
		return nil
	}
	return os.WriteFile(path, []byte(op.Value), 0)
}

func applyAddresses(l netlink.Link, want []netip.Prefix) error {
	now, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range now {
		p := prefixOf(a)
		if slices.Contains(want, p) || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := netlink.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	// Looked up again: with the first address of a subnet the kernel removes the
	// others of it.
	if now, err = netlink.AddrList(l, netlink.FAMILY_ALL); err != nil {
		return err
	}
	for _, p := range want {
		if slices.ContainsFunc(now, func(a netlink.Addr) bool { return prefixOf(a) == p }) {
			continue
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(l, a); err != nil {
			return err
		}
	}
	return nil
}

// prefixOf returns an address with the length of its subnet.
func prefixOf(a netlink.Addr) netip.Prefix {
	ip, _ := netip.AddrFromSlice(a.IP)
	ones, _ := a.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones)
}

func applyError(op vnet.Op, err error) error {
	name, _, _ := strings.Cut(op.String(), "\n")
	kind, hint := s4t.Internal, ""
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		kind, hint = s4t.NotFound, "see `ip link` for the devices of this host"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		kind, hint = s4t.Forbidden, "run as root or with CAP_NET_ADMIN"
	case errors.Is(err, errOwnAddresses):
		kind, hint = s4t.Conflict, "choose an interface without addresses, or put it into a bridge of your own"
	}
	return s4t.Errorf(kind, name, hint, "%w", err)
}
