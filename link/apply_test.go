//go:build linux

package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// addresses returns the global addresses of a device, sorted.
func addresses(t *testing.T, name string) []string {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, a := range list {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%v is tentative, want it usable at once", a)
		}
		s = append(s, a.IPNet.String())
	}
	slices.Sort(s)
	return s
}

// silent fails the test if f makes the kernel tell of a change.
func silent(t *testing.T, f func()) {
	t.Helper()
	links, addrs, stop := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), make(chan struct{})
	err := errors.Join(netlink.LinkSubscribe(links, stop), netlink.AddrSubscribe(addrs, stop))
	if err != nil {
		t.Fatal(err)
	}
	f()
	// A change of our own, after which nothing else can be on its way.
	lo, _ := netlink.LinkByName("lo")
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	for u := range links {
		if u.Attrs().Name == "lo" {
			break
		}
		t.Errorf("the kernel told of a change of %s", u.Attrs().Name)
	}
	close(stop)
	for a := range addrs {
		if a.LinkAddress.IP.IsLoopback() {
			continue
		}
		t.Errorf("the kernel told of a change of address %v", a.LinkAddress)
	}
	for range links {
	}
}

func TestApplyAPortTwice(t *testing.T) {
	for _, tt := range []struct {
		name string
		port vnet.Port
	}{
		{"layer 2 with both families", vnet.Port{Layer: 2, MAC: "02:00:00:00:00:07", MTU: 1400, Addresses: []string{"10.77.0.2/24", "fd00:77::2/64"}}},
		{"layer 2 without addresses", vnet.Port{Layer: 2, MAC: "02:00:00:00:00:07", MTU: 1500}},
		{"layer 2 at an MTU too small for IPv6", vnet.Port{Layer: 2, MAC: "02:00:00:00:00:07", MTU: 576, Addresses: []string{"10.77.0.2/24"}}},
		{"layer 2 in GRE", vnet.Port{Layer: 2, MAC: "02:00:00:00:00:07", MTU: 1500, Encapsulation: s4t.EncapGRE, Addresses: []string{"10.77.0.2/24"}}},
		{"layer 3 with both families", vnet.Port{Layer: 3, MTU: 1500, Addresses: []string{"10.77.0.2/24", "fd00:77::2/64"}}},
		{"layer 3 with IPv4", vnet.Port{Layer: 3, MTU: 9000, Addresses: []string{"10.77.0.2/24"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			p := tt.port
			p.ID = s4t.PortID(s4t.NewID())
			p.Interface = vnet.InterfaceName(p.ID)
			ops, err := vnet.BoardPort(p)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Open(Config{Name: p.Interface, Layer: p.Layer})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			told, stop := make(chan netlink.AddrUpdate, 64), make(chan struct{})
			if err := netlink.AddrSubscribe(told, stop); err != nil {
				t.Fatal(err)
			}
			hasty := vnet.Sysctl{Path: "net/ipv6/conf/" + p.Interface + "/accept_dad", Value: "0"}
			if err := Apply(append([]vnet.Op{hasty}, ops...)); err != nil {
				t.Fatal(err)
			}
			l, _ := netlink.LinkByName(p.Interface)
			if a := l.Attrs(); a.MTU != p.MTU || a.TxQLen != vnet.QueueFrames || p.Layer == 2 && a.HardwareAddr.String() != p.MAC {
				t.Errorf("the device has %+v", a)
			}
			if got, want := addresses(t, p.Interface), slices.Clone(p.Addresses); !slices.Equal(got, want) {
				t.Errorf("addresses %v, want %v", got, want)
			}
			// The kernel tells of an IPv6 address later, from a work queue, and sets a
			// link-local one up on its own; only then is it quiet.
			for _, want := range p.Addresses {
				for strings.Contains(want, ":") {
					if u := <-told; u.NewAddr && u.LinkAddress.String() == want {
						break
					}
				}
			}
			close(stop)
			if p.Layer == 2 {
				l, _ = netlink.LinkByName(p.Interface)
				for p.MTU >= vnet.MinIPv6MTU && !settled(t, l) {
				}
			}
			silent(t, func() {
				if err := Apply(ops); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// settled reports whether the link-local address of l is there and usable.
func settled(t *testing.T, l netlink.Link) bool {
	list, err := netlink.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(a netlink.Addr) bool {
		return a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0
	})
}

func TestAddressesAreReplaced(t *testing.T) {
	inNamespace(t)
	open(t, Config{Name: "s4t-a", Layer: 2})
	for _, want := range [][]string{
		{"10.77.0.2/24", "10.78.0.2/24"},
		{"10.77.0.3/24", "10.78.0.2/24"},
		{"10.77.0.3/25"},
		{"192.168.1.1/30", "10.9.9.9/32"},
	} {
		var prefixes []netip.Prefix
		for _, p := range want {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		if err := Apply([]vnet.Op{vnet.Addresses{Name: "s4t-a", Prefixes: prefixes}}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		if got := addresses(t, "s4t-a"); !slices.Equal(got, want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
	}
}

func TestApplyNamesTheOpThatFailed(t *testing.T) {
	inNamespace(t)
	open(t, Config{Name: "s4t-a", Layer: 2})
	for _, tt := range []struct {
		name string
		op   vnet.Op
		kind s4t.Kind
		want string
	}{
		{"no such device", vnet.MTU{Name: "s4t-none", MTU: 1500}, s4t.NotFound, "ip link set dev s4t-none mtu 1500"},
		{"a TAP where a TUN is meant", vnet.Device{Name: "s4t-a", Layer: 3}, s4t.Internal, "another kind"},
		{"a device where a bridge is meant", vnet.Bridge{Name: "s4t-a"}, s4t.Internal, "no kernel bridge"},
		{"an MTU that the driver refuses", vnet.MTU{Name: "s4t-a", MTU: 1 << 20}, s4t.Internal, "mtu"},
		{"a sysctl that refuses", vnet.Sysctl{Path: "net/ipv4/conf/s4t-a/arp_ignore", Value: "x"}, s4t.Internal, "sysctl -w net/ipv4/conf/s4t-a/arp_ignore=x"},
	} {
		err := Apply([]vnet.Op{tt.op})
		if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want kind %s and %q in it", tt.name, err, tt.kind, tt.want)
		}
	}
}

func TestASysctlThatIsNotThereIsNotMissed(t *testing.T) {
	if err := Apply([]vnet.Op{vnet.Sysctl{Path: "net/ipv6/conf/s4t-none/accept_ra", Value: "0"}}); err != nil {
		t.Error(err)
	}
}

// veth makes a pair of interfaces, one of which stands for the LAN's.
func veth(t *testing.T, lan, plc string) {
	t.Helper()
	out, err := exec.Command("ip", "link", "add", lan, "type", "veth", "peer", "name", plc).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestBridgeToAnInterface(t *testing.T) {
	inNamespace(t)
	id := s4t.PortID(s4t.NewID())
	p := vnet.Port{ID: id, Layer: 2, MAC: vnet.MAC(id), MTU: 1500, Interface: vnet.InterfaceName(id),
		Addresses: []string{"10.77.0.2/24"}, Guards: s4t.PortGuards{BridgeTo: "eth1"}}
	ops, err := vnet.BoardPort(p)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(Config{Name: p.Interface, Layer: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := Apply(ops); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("without the interface: %v, want not_found", err)
	}
	veth(t, "eth1", "plc")
	busy := vnet.Addresses{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24")}}
	if err := Apply([]vnet.Op{busy}); err != nil {
		t.Fatal(err)
	}
	if err := Apply(ops); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("the interface in use: %v, want a conflict", err)
	}
	if out, err := exec.Command("ip", "address", "flush", "dev", "eth1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("ip", "link", "set", "eth1", "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, pass := range []string{"first", "again"} {
		if err := Apply(ops); err != nil {
			t.Fatalf("%s: %v", pass, err)
		}
	}
	if l, _ := netlink.LinkByName("eth1"); l.Attrs().Flags&net.FlagUp == 0 {
		t.Error("eth1 is not up")
	}
	bridge, err := netlink.LinkByName(vnet.BridgeName(id))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{p.Interface, "eth1"} {
		if l, _ := netlink.LinkByName(name); l.Attrs().MasterIndex != bridge.Attrs().Index {
			t.Errorf("%s is not in the bridge", name)
		}
	}
	if got := addresses(t, vnet.BridgeName(id)); !slices.Equal(got, p.Addresses) {
		t.Errorf("the bridge has %v", got)
	}
	if err := Sweep(func(name string) bool { return name == vnet.BridgeName(id) }); err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName(vnet.BridgeName(id)); err != nil {
		t.Errorf("Sweep removed what was to be kept: %v", err)
	}
	if err := Sweep(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName(vnet.BridgeName(id)); err == nil {
		t.Error("Sweep left the bridge")
	}
	if l, err := netlink.LinkByName("eth1"); err != nil || l.Attrs().MasterIndex != 0 {
		t.Errorf("the interface is not free: %v", err)
	} else if l.Attrs().Flags&net.FlagUp != 0 {
		t.Error("the interface was down before, and is not now")
	}
}

func TestADeviceTakenAwayIsToldApart(t *testing.T) {
	inNamespace(t)
	d := open(t, Config{Name: "s4t-a", Layer: 2})
	ended := make(chan error)
	go func() {
		buf := make([]byte, MaxPacket)
		_, err := d.ReadFrames(func() []byte { return buf }, func(int) {})
		ended <- err
	}()
	l, err := netlink.LinkByName("s4t-a")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != ErrGone {
		t.Errorf("ReadFrames = %v, want ErrGone", err)
	}
	if err := d.Write(make([]byte, HeaderLen+60)); err != ErrGone {
		t.Errorf("Write = %v, want ErrGone", err)
	}
}

func TestNothingIsSaidOfTheHomeLAN(t *testing.T) {
	inNamespace(t)
	id := s4t.PortID(s4t.NewID())
	p := vnet.Port{ID: id, Layer: 2, MAC: vnet.MAC(id), MTU: 1500, Interface: "s4t-a", Addresses: []string{"10.77.0.2/24"}}
	ops, err := vnet.BoardPort(p)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(Config{Name: "s4t-a", Layer: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	veth(t, "eth0", "home")
	ops = append(ops,
		vnet.Addresses{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24")}},
		vnet.Up{Name: "home"}, vnet.Up{Name: "eth0"})
	if err := Apply(ops); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"net/ipv6/conf/s4t-a/accept_ra", "net/ipv6/conf/s4t-a/autoconf"} {
		if b, err := os.ReadFile("/proc/sys/" + path); err != nil || strings.TrimSpace(string(b)) != "0" {
			t.Errorf("%s = %q, %v; want 0", path, b, err)
		}
	}
	// Who has the home LAN's address, asks the network; then who has the port's.
	ask := func(last [4]byte) []byte {
		f := make([]byte, HeaderLen, HeaderLen+42)
		f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 77, 0, 9, 0, 0, 0, 0, 0, 0)
		return append(f, last[:]...)
	}
	for _, ip := range [][4]byte{{192, 168, 1, 2}, {10, 77, 0, 2}} {
		if err := d.Write(ask(ip)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		reply := read(t, d, 1)[0][HeaderLen:]
		if reply[12] != 8 || reply[13] != 6 || reply[21] != 2 {
			continue // IPv6 that sets itself up
		}
		if got := netip.AddrFrom4([4]byte(reply[28:32])); got != netip.MustParseAddr("10.77.0.2") {
			t.Errorf("the board answers for %v", got)
		}
		return
	}
}
