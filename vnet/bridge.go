package vnet

import (
	"net"
	"net/netip"
)

// Step 7 of the paper's Fig. 3: the plan of a device that is bridged to an
// interface of its board; and of step 8, where a network is bridged to a host of
// the cloud.

// bridgeTo joins a port's device and an interface of its board, behind which a
// PLC or a LAN is, in a kernel bridge that carries the board's own addresses.
func bridgeTo(p Port, mac net.HardwareAddr, addrs []netip.Prefix) []Op {
	bridge := BridgeName(p.ID)
	ops := []Op{
		Bridge{bridge},
		Address{bridge, mac},
		MTU{bridge, p.MTU},
	}
	ops = append(ops, quiet(bridge, p.Layer, addrs)...)
	ops = append(ops,
		// The members themselves stay silent: the bridge speaks for the board.
		Sysctl{"net/ipv6/conf/" + p.Interface + "/disable_ipv6", "1"},
		Master{p.Interface, bridge},
		Master{p.Guards.BridgeTo, bridge},
	)
	if len(addrs) > 0 {
		ops = append(ops, Addresses{Name: bridge, Prefixes: addrs})
	}
	return append(ops, Up{bridge}, Up{p.Interface}, Up{p.Guards.BridgeTo})
}

// Uplink returns the ops that put the TAP of a network on a cloud host into an
// existing kernel bridge, so that virtual machines, containers and physical
// LANs there join the network.
func Uplink(tap, bridge string, mtu int) ([]Op, error) {
	for _, name := range []string{tap, bridge} {
		if err := ValidInterfaceName(name); err != nil {
			return nil, err
		}
	}
	return []Op{
		Device{tap, 2},
		MTU{tap, mtu},
		QueueLen{tap, QueueFrames},
		Sysctl{"net/ipv6/conf/" + tap + "/disable_ipv6", "1"},
		Master{tap, bridge},
		Up{tap},
	}, nil
}
