//go:build linux

package link

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// Outcome is what [Restore] did.
type Outcome struct {
	Changed []vnet.Op // what was not so before
	Lacking []error   // what cannot be had, and what the host works without; of IPv6: an [ErrNoIPv6]
}

// ErrNoIPv6 says that a device has none of its IPv6 addresses.
var ErrNoIPv6 = errors.New("no IPv6")

// Apply makes the host match ops, in order. Applying the same ops again
// changes nothing, and tells nobody of a change that is none. On error it names
// the op that failed and leaves the earlier ones in place; the next Apply
// continues from there.
//
// It works in the network namespace of the calling thread.
func Apply(ops []vnet.Op) error {
	out, err := Restore(ops)
	if err == nil && len(out.Lacking) > 0 {
		return out.Lacking[0]
	}
	return err
}

// Restore is Apply for who can do without some of it: a sysctl, the length of a
// queue, the IPv6 addresses. Where one of those fails the others are set all
// the same. It says what it had to change.
func Restore(ops []vnet.Op) (out Outcome, err error) {
	for _, op := range ops {
		changed, err := apply(op)
		if changed {
			out.Changed = append(out.Changed, op)
		}
		switch {
		case err == nil:
		case optional(op), errors.Is(err, ErrNoIPv6):
			out.Lacking = append(out.Lacking, applyError(op, err))
		default:
			return out, applyError(op, err)
		}
	}
	return out, nil
}

// optional says which ops a device works without.
func optional(op vnet.Op) bool {
	switch op.(type) {
	case vnet.Sysctl, vnet.QueueLen, vnet.MaxGSO:
		return true
	}
	return false
}

// apply carries out one op, and reports whether there was something to do.
func apply(op vnet.Op) (changed bool, err error) {
	switch op := op.(type) {
	case vnet.Device:
		return applyDevice(op)
	case vnet.Bridge:
		return applyBridge(op)
	case vnet.Address:
		return change(op.Name, func(l netlink.Link) (bool, error) {
			if slices.Equal(l.Attrs().HardwareAddr, op.MAC) {
				return false, nil
			}
			return true, netlink.LinkSetHardwareAddr(l, op.MAC)
		})
	case vnet.MTU:
		return change(op.Name, func(l netlink.Link) (bool, error) {
			if l.Attrs().MTU == op.MTU {
				return false, nil
			}
			return true, netlink.LinkSetMTU(l, op.MTU)
		})
	case vnet.QueueLen:
		return change(op.Name, func(l netlink.Link) (bool, error) {
			if l.Attrs().TxQLen == op.Frames {
				return false, nil
			}
			return true, netlink.LinkSetTxQLen(l, op.Frames)
		})
	case vnet.MaxGSO:
		return change(op.Name, func(l netlink.Link) (bool, error) {
			if now := l.Attrs().GSOMaxSize; now == 0 || now <= uint32(op.Bytes) {
				return false, nil
			}
			return true, netlink.LinkSetGSOMaxSize(l, op.Bytes)
		})
	case vnet.Sysctl:
		return applySysctl(op)
	case vnet.NoForward:
		return applyNoForward(op)
	case vnet.Addresses:
		return change(op.Name, func(l netlink.Link) (bool, error) { return applyAddresses(l, op.Prefixes, op.Shared) })
	case vnet.Master:
		return applyMaster(op)
	case vnet.Up:
		return change(op.Name, func(l netlink.Link) (bool, error) {
			if l.Attrs().Flags&net.FlagUp != 0 {
				return false, nil
			}
			return true, netlink.LinkSetUp(l)
		})
	}
	return false, errors.New("link does not know this operation")
}

// change looks the device up and hands it to f.
func change(name string, f func(netlink.Link) (bool, error)) (bool, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return false, err
	}
	return f(l)
}

func applyDevice(op vnet.Device) (bool, error) {
	want := netlink.TuntapMode(netlink.TUNTAP_MODE_TAP)
	if op.Layer == 3 {
		want = netlink.TUNTAP_MODE_TUN
	}
	return change(op.Name, func(l netlink.Link) (bool, error) {
		if t, ok := l.(*netlink.Tuntap); !ok || t.Mode != want {
			return false, errors.New("a device of that name is there, but of another kind")
		}
		return false, nil
	})
}

// sysctlPath is where a sysctl is.
func sysctlPath(path string) string { return filepath.Join("/proc/sys", filepath.FromSlash(path)) }

// sysctl reads one: empty where there is none.
func sysctl(path string) string {
	b, _ := os.ReadFile(sysctlPath(path))
	return strings.TrimSpace(string(b))
}

// applySysctl writes only what differs: a write tells every listener, even one
// that changes nothing.
func applySysctl(op vnet.Sysctl) (bool, error) {
	path := sysctlPath(op.Path)
	now, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // see vnet.Sysctl
	}
	if err == nil && strings.TrimSpace(string(now)) == op.Value {
		return false, nil
	}
	if err := os.WriteFile(path, []byte(op.Value), 0); err != nil {
		return false, err
	}
	return true, nil
}

// applyNoForward does both families, see [vnet.NoForward].
func applyNoForward(op vnet.NoForward) (bool, error) {
	if _, err := netlink.LinkByName(op.Name); err != nil {
		return false, err
	}
	four, err := applySysctl(vnet.Sysctl{Path: "net/ipv4/conf/" + op.Name + "/forwarding", Value: "0"})
	if err != nil { // in a container /proc/sys may be read-only
		four, err = noForwardRule(op.Name, netlink.FAMILY_V4)
	}
	if err != nil {
		return four, err
	}
	six, err := noForwardRule(op.Name, netlink.FAMILY_V6)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		err = nil // no IPv6, or no rules
		if sysctl("net/ipv6/conf/all/forwarding") == "1" {
			err = errors.New("this host forwards IPv6, and its kernel has no routing rules to except a device (CONFIG_IPV6_MULTIPLE_TABLES)")
		}
	}
	return four || six, err
}

// noForwardRule adds the rule of [vnet.NoForward] where it is not there.
func noForwardRule(name string, family int) (bool, error) {
	rules, err := netlink.RuleList(family)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(rules, func(r netlink.Rule) bool { return ownRule(r) && r.IifName == name }) {
		return false, nil
	}
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.IifName, rule.Type = family, vnet.NoForwardRule, name, unix.RTN_BLACKHOLE
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return false, err
	}
	return true, nil
}

// ownRule reports whether a rule is of a [vnet.NoForward]: it looks nothing up.
func ownRule(r netlink.Rule) bool {
	return r.Priority == vnet.NoForwardRule && r.Table == unix.RT_TABLE_UNSPEC && vnet.Own(r.IifName)
}

func applyError(op vnet.Op, err error) error {
	name, _, _ := strings.Cut(op.String(), "\n")
	kind, hint := s4t.Internal, ""
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		kind, hint = s4t.NotFound, "see `ip link` for the devices of this host"
	case errors.Is(err, ErrNoIPv6):
		kind = s4t.Unavailable
	case errors.Is(err, errOwnAddresses):
		kind, hint = s4t.Conflict, "choose an interface without addresses, or put it into a bridge of your own"
	default:
		kind, hint = refusal(err)
	}
	return s4t.Errorf(kind, name, hint, "%w", err)
}

// refusal says what an errno of the kernel means, and what to do.
func refusal(err error) (s4t.Kind, string) {
	switch {
	case errors.Is(err, unix.EROFS):
		return s4t.Forbidden, "/proc/sys is mounted read-only here, as in a container: mount it for writing, or set this on the host"
	case (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && os.Geteuid() == 0:
		return s4t.Forbidden, "give the service or container CAP_NET_ADMIN; being root is not enough here"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return s4t.Forbidden, "run as root or with CAP_NET_ADMIN"
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return s4t.Unavailable, "this kernel was built, or booted, without it"
	}
	return s4t.Internal, ""
}
