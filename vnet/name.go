package vnet

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
)

// MaxInterfaceName is the longest name of a network interface in bytes:
// IFNAMSIZ (16) with its closing zero (linux/if.h).
const MaxInterfaceName = 15

// Prefixes of the names of what we make, so that a user and link.Sweep can
// tell them from the rest.
const (
	DevicePrefix = "s4t-"
	BridgePrefix = "s4tb-"
	UplinkPrefix = "s4tu-"
)

// Own reports whether a device of that name is one that we made, of whatever
// kind.
func Own(name string) bool {
	return slices.ContainsFunc([]string{DevicePrefix, BridgePrefix, UplinkPrefix}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// InterfaceName returns the name of a port's device: "s4t-" and the first 8
// hex digits of the port's id. Two ports of one board share a name once in
// 2^32; the second Open then fails and says so.
func InterfaceName(id s4t.PortID) string { return DevicePrefix + digits(id) }

// BridgeName returns the name of the kernel bridge of a port that is bridged
// to an interface of its board.
func BridgeName(id s4t.PortID) string { return BridgePrefix + digits(id) }

func digits(id s4t.PortID) string {
	if s4t.IsID(string(id)) {
		return string(id[:8])
	}
	return fmt.Sprintf("%08x", sum(id))
}

// UplinkName returns the name of the TAP of a network that is in a Linux
// bridge of the cloud host.
func UplinkName(id s4t.NetworkID) string { return UplinkPrefix + digits(s4t.PortID(id)) }

// UplinkMAC returns the MAC address of that TAP. It begins with fe: a Linux
// bridge takes the lowest address of its members for its own, and must not
// change it because of us.
func UplinkMAC(id s4t.NetworkID) string { return "fe" + MAC(s4t.PortID(id))[2:] }

// MAC returns the MAC address of a port, "02:" and 5 bytes of the id that are
// random in a version 4 UUID: locally administered, unicast. The database
// keeps it unique; on a collision a fresh id gives a fresh MAC.
func MAC(id s4t.PortID) string {
	h := fmt.Sprintf("%010x", sum(id))
	if s4t.IsID(string(id)) {
		h = string(id[26:])
	}
	return "02:" + h[:2] + ":" + h[2:4] + ":" + h[4:6] + ":" + h[6:8] + ":" + h[8:]
}

func sum(id s4t.PortID) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return h.Sum32()
}

// ValidInterfaceName checks a name that a user gave: 1 to [MaxInterfaceName]
// bytes that the kernel takes literally (net/core/dev.c dev_valid_name; '%'
// would be a pattern).
func ValidInterfaceName(name string) error {
	bad := len(name) == 0 || len(name) > MaxInterfaceName || name == "." || name == ".."
	for i := 0; i < len(name) && !bad; i++ {
		c := name[i]
		bad = c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '%'
	}
	if bad {
		return s4t.Errorf(s4t.Invalid, "name an interface", "see `ip link` for the names of this board", "%q is not the name of an interface", name)
	}
	return nil
}
