package vnet

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// An Op is one idempotent change to the links of a host: carried out twice it
// changes nothing the second time. Its String is the ip(8) or sysctl(8)
// command that would do the same, so that a plan can be read and pasted.
type Op interface {
	String() string
	op() // closes the set: link knows them all
}

// Device says that a TAP (layer 2) or TUN (layer 3) device of that name is
// there. Its owner has opened it; the kernel removes it when the owner closes
// it or dies.
type Device struct {
	Name  string
	Layer int // 2 or 3
}

// Bridge makes a kernel bridge, without STP (loops are cut by the switch, and
// a listening phase would cost 30 s) and without multicast snooping (without a
// querier it would starve mDNS).
type Bridge struct {
	Name string
}

// Address is a device's MAC address.
type Address struct {
	Name string
	MAC  net.HardwareAddr
}

// MTU of a device, in bytes of an IP packet.
type MTU struct {
	Name string
	MTU  int
}

// QueueLen is how many frames a TAP or TUN device holds for its reader.
type QueueLen struct {
	Name   string
	Frames int
}

// MaxGSO bounds a device's super-frames, in bytes. A kernel that cannot set it
// (before 4.16) is left alone.
type MaxGSO struct {
	Name  string
	Bytes int
}

// Sysctl writes a file under /proc/sys. Where the file is missing the feature
// is, and nothing is done: a kernel without IPv6, or a device whose MTU is too
// small for it.
type Sysctl struct {
	Path  string // below /proc/sys: "net/ipv6/conf/s4t-0a1b2c3d/accept_ra"
	Value string
}

// NoForward keeps the host from forwarding what comes in through a device: the
// network must not reach the LANs behind a board that is a router. For IPv4
// the device has a switch. IPv6 has one for all devices of a host only
// (Documentation/networking/ip-sysctl.rst, conf/all/forwarding), so a routing
// rule behind the one for the host's own addresses drops what is for others;
// it stays when the device goes.
type NoForward struct {
	Name string
}

// Addresses are all the IP addresses of a device, apart from link-local IPv6
// ones, with the routes to their subnets: missing ones are added, others
// removed. They skip duplicate address
// detection, as the database keeps them unique and a second of silence at the
// start would serve nobody.
type Addresses struct {
	Name     string
	Prefixes []netip.Prefix // address and length of its subnet; at least one
	Shared   bool           // others that were added meanwhile stay: a second one, a group's, one by router advertisement
}

// Master puts a device into a kernel bridge. It refuses an interface that has
// IP addresses of its own (they would stop working: the board would cut its
// own path to the cloud) unless it is the bridge's already.
type Master struct {
	Name   string
	Bridge string
}

// Up brings a device up.
type Up struct {
	Name string
}

func (Device) op()    {}
func (Bridge) op()    {}
func (Address) op()   {}
func (MTU) op()       {}
func (QueueLen) op()  {}
func (MaxGSO) op()    {}
func (Sysctl) op()    {}
func (NoForward) op() {}
func (Addresses) op() {}
func (Master) op()    {}
func (Up) op()        {}

func (o Device) String() string {
	return fmt.Sprintf("ip tuntap add dev %s mode %s", o.Name, map[int]string{2: "tap", 3: "tun"}[o.Layer])
}

func (o Bridge) String() string {
	return fmt.Sprintf("ip link add name %s type bridge stp_state 0 mcast_snooping 0", o.Name)
}

func (o Address) String() string {
	return fmt.Sprintf("ip link set dev %s address %v", o.Name, o.MAC)
}

func (o MTU) String() string { return fmt.Sprintf("ip link set dev %s mtu %d", o.Name, o.MTU) }

func (o QueueLen) String() string {
	return fmt.Sprintf("ip link set dev %s txqueuelen %d", o.Name, o.Frames)
}

func (o MaxGSO) String() string {
	return fmt.Sprintf("ip link set dev %s gso_max_size %d", o.Name, o.Bytes)
}

func (o Sysctl) String() string { return fmt.Sprintf("sysctl -w %s=%s", o.Path, o.Value) }

func (o NoForward) String() string {
	return fmt.Sprintf("sysctl -w net/ipv4/conf/%s/forwarding=0\nip -6 rule add pref %d iif %[1]s blackhole", o.Name, NoForwardRule)
}

func (o Addresses) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ip address flush dev %s scope global", o.Name)
	for _, p := range o.Prefixes {
		fmt.Fprintf(&b, "\nip address add %v dev %s", p, o.Name)
		if p.Addr().Is6() {
			b.WriteString(" nodad")
		}
	}
	return b.String()
}

func (o Master) String() string {
	return fmt.Sprintf("ip link set dev %s master %s", o.Name, o.Bridge)
}

func (o Up) String() string { return fmt.Sprintf("ip link set dev %s up", o.Name) }

// Render returns ops as commands, one a line.
func Render(ops []Op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.String())
		b.WriteByte('\n')
	}
	return b.String()
}
