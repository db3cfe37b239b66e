//go:build linux

package link

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// ip runs ip(8), or another program, in the namespace of the test.
func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// newPort makes the device of a port and carries out its plan.
func newPort(t *testing.T, p vnet.Port) (*Device, []vnet.Op) {
	t.Helper()
	ops, err := vnet.BoardPort(p)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(Config{Name: p.Interface, Layer: p.Layer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, ops
}

func testPort() vnet.Port {
	return vnet.Port{ID: s4t.PortID(s4t.NewID()), Layer: 2, Interface: "s4t-a", MAC: "02:00:00:00:00:07", MTU: 1500, Addresses: []string{"10.77.0.2/24", "fd00:77::2/64"}}
}

// TestWhatAnotherProgramChangedIsPutBackAndNamed: row F1.
func TestWhatAnotherProgramChangedIsPutBackAndNamed(t *testing.T) {
	inNamespace(t)
	_, ops := newPort(t, testPort())
	if err := Apply(ops); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ command, is string }{
		{"ip addr flush dev s4t-a scope global", "ip address"},
		{"ip addr del 10.77.0.2/24 dev s4t-a", "ip address"},
		{"ip addr add 10.99.0.2/24 dev s4t-a", "ip address"},
		{"ip route del 10.77.0.0/24 dev s4t-a", "ip address"},
		{"ip -6 route del fd00:77::/64 dev s4t-a", "ip address"},
		{"ip link set dev s4t-a down", "ip link set dev s4t-a up"},
		{"ip link set dev s4t-a mtu 1300", "mtu 1500"},
		{"ip link set dev s4t-a address 02:00:00:00:00:99", "address 02:00:00:00:00:07"},
		{"ip link set dev s4t-a txqueuelen 1000", "txqueuelen"},
		{"sysctl -qw net.ipv6.conf.s4t-a.accept_ra=1", "accept_ra"},
		{"sysctl -qw net.ipv4.conf.s4t-a.forwarding=1", "forwarding"},
		{"sysctl -qw net.ipv6.conf.s4t-a.disable_ipv6=1", "disable_ipv6"},
		{"ip -6 rule del pref 1", "forwarding"},
	} {
		run(t, tt.command)
		out, err := Restore(ops)
		if err != nil || len(out.Lacking) > 0 || !slices.ContainsFunc(out.Changed, func(op vnet.Op) bool { return strings.Contains(op.String(), tt.is) }) {
			t.Errorf("after %s: changed %v, lacking %v, %v", tt.command, out.Changed, out.Lacking, err)
		}
		out, err = Restore(ops)
		if err != nil || len(out.Changed) > 0 {
			t.Errorf("after %s and one Restore there is still to do %v, %v", tt.command, out.Changed, err)
		}
		if got := addresses(t, "s4t-a"); !slices.Equal(got, []string{"10.77.0.2/24", "fd00:77::2/64"}) {
			t.Errorf("after %s: addresses %v", tt.command, got)
		}
	}
}

func TestAChangeIsToldByTheKernel(t *testing.T) {
	inNamespace(t)
	_, ops := newPort(t, testPort())
	if err := Apply(ops); err != nil {
		t.Fatal(err)
	}
	commands := []struct {
		command string
		is      Change
	}{
		{"ip addr del 10.77.0.2/24 dev s4t-a", Change{"s4t-a", true}},
		{"ip link set dev s4t-a mtu 1400", Change{"s4t-a", false}},
		{"ip route add 192.0.2.0/24 dev s4t-a", Change{"s4t-a", true}},
		{"ip route add blackhole 192.0.2.0/25", Change{"", true}},
		{"sysctl -qw net.ipv4.conf.s4t-a.forwarding=1", Change{"s4t-a", false}},
		{"ip -6 rule del pref 1", Change{"s4t-a", false}},
		{"ip link set dev s4t-a down", Change{"s4t-a", false}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := 0
	err := Watch(ctx, func(c Change) {
		switch {
		case c == Change{} && next == 0:
		case next > 0 && c == commands[next-1].is:
		default:
			return
		}
		if next == len(commands) {
			cancel()
			return
		}
		next++
		run(t, commands[next-1].command)
	})
	if err != nil || next != len(commands) {
		t.Errorf("%d of %d changes were told, %v", next, len(commands), err)
	}
}

// TestIPv4ComesUpWhereIPv6IsOff: row F3.
func TestIPv4ComesUpWhereIPv6IsOff(t *testing.T) {
	inNamespace(t)
	run(t, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	_, ops := newPort(t, testPort())
	out, err := Restore(ops)
	if err != nil || len(out.Lacking) > 0 {
		t.Errorf("a host that has IPv6 off: lacking %v, %v", out.Lacking, err)
	}
	if got := addresses(t, "s4t-a"); !slices.Equal(got, []string{"10.77.0.2/24", "fd00:77::2/64"}) {
		t.Errorf("an own device has %v", got)
	}
	// Where it cannot be switched on: as if /proc/sys were read-only.
	run(t, "sysctl -qw net.ipv6.conf.s4t-a.disable_ipv6=1")
	ops = slices.DeleteFunc(ops, func(op vnet.Op) bool {
		s, ok := op.(vnet.Sysctl)
		return ok && strings.HasSuffix(s.Path, "disable_ipv6")
	})
	run(t, "ip addr del 10.77.0.2/24 dev s4t-a")
	withReadOnlySysctls(t, func() { out, err = Restore(ops) })
	if err != nil || len(out.Lacking) != 1 || !strings.Contains(out.Lacking[0].Error(), "net.ipv6.conf.s4t-a.disable_ipv6=1") ||
		!strings.Contains(out.Lacking[0].Error(), "read-only") || strings.Contains(out.Lacking[0].Error(), "as root") {
		t.Errorf("lacking %v, %v", out.Lacking, err)
	}
	if got := addresses(t, "s4t-a"); !slices.Equal(got, []string{"10.77.0.2/24"}) {
		t.Errorf("IPv4: %v", got)
	}
}

// withReadOnlySysctls calls f as in a container whose /proc/sys is read-only:
// the mount is of the calling thread's namespace, which the test does not give
// back.
func withReadOnlySysctls(t *testing.T, f func()) {
	t.Helper()
	if err := readOnly("/proc/sys"); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	f()
}

// TestOneSettingThatFailsCostsNoOther: row F3.
func TestOneSettingThatFailsCostsNoOther(t *testing.T) {
	inNamespace(t)
	_, ops := newPort(t, testPort())
	ops = append([]vnet.Op{vnet.Sysctl{Path: "net/ipv4/conf/s4t-a/arp_ignore", Value: "x"}}, ops...)
	out, err := Restore(ops)
	if err != nil || len(out.Lacking) != 1 || !strings.Contains(out.Lacking[0].Error(), "arp_ignore") {
		t.Errorf("lacking %v, %v", out.Lacking, err)
	}
	if got := addresses(t, "s4t-a"); len(got) != 2 {
		t.Errorf("addresses %v", got)
	}
}

// TestAPortThatCannotBeKeptFromForwardingByASysctlIsByARule: in a container.
func TestAPortThatCannotBeKeptFromForwardingByASysctlIsByARule(t *testing.T) {
	inNamespace(t)
	run(t, "sysctl -qw net.ipv4.ip_forward=1")
	_, ops := newPort(t, testPort())
	var out Outcome
	var err error
	withReadOnlySysctls(t, func() { out, err = Restore(ops) })
	if err != nil || len(out.Lacking) == 0 {
		t.Errorf("lacking %v, %v", out.Lacking, err)
	}
	for _, l := range out.Lacking {
		if !strings.Contains(l.Error(), "/proc/sys is mounted read-only") {
			t.Error(l)
		}
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil || !slices.ContainsFunc(rules, ownRule) {
		t.Errorf("rules %v, %v", rules, err)
	}
}

// TestABoardThatForwardsHandsNothingOn: row 12. The host forwards both families;
// what comes in through a port's device stays.
func TestABoardThatForwardsHandsNothingOn(t *testing.T) {
	inNamespace(t)
	run(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	veth(t, "eth1", "plc")
	lan := []vnet.Op{
		vnet.Addresses{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24"), netip.MustParsePrefix("fd07::1/64")}},
		vnet.Up{Name: "plc"}, vnet.Up{Name: "eth1"},
	}
	if err := Apply(lan); err != nil {
		t.Fatal(err)
	}
	run(t, "ip neigh add 192.168.7.9 lladdr 02:00:00:00:00:09 dev eth1")
	run(t, "ip -6 neigh add fd07::9 lladdr 02:00:00:00:00:09 dev eth1")
	d, ops := newPort(t, testPort())
	forwards := slices.DeleteFunc(slices.Clone(ops), func(op vnet.Op) bool { _, ok := op.(vnet.NoForward); return ok })
	if err := Apply(forwards); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if !want {
			if err := Apply(ops); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []struct{ src, dst string }{{"10.77.0.3", "192.168.7.9"}, {"fd00:77::3", "fd07::9"}} {
			if got := handedOn(t, d, netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)); got != want {
				t.Errorf("a packet from %s to %s handed on: %v, want %v", p.src, p.dst, got, want)
			}
		}
	}
	d.Close()
	if err := Sweep(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if rules, err := netlink.RuleList(netlink.FAMILY_V6); err != nil || slices.ContainsFunc(rules, ownRule) {
		t.Errorf("left behind: %v, %v", rules, err)
	}
}

// handedOn gives a UDP packet to the device and reports whether the host sends
// it out of eth1. The kernel forwards within the write.
func handedOn(t *testing.T, d *Device, src, dst netip.Addr) bool {
	t.Helper()
	return handedOnTo(t, d, src, dst, [6]byte{2, 0, 0, 0, 0, 7})
}

// handedOnTo does it for a frame to a MAC address.
func handedOnTo(t *testing.T, d *Device, src, dst netip.Addr, mac [6]byte) bool {
	t.Helper()
	frame := append(append(make([]byte, HeaderLen), mac[:]...), 2, 0, 0, 0, 0, 3)
	udp := []byte{0, 9, 0, 9, 0, 12, 0, 0, 'S', 'E', 'T', '!'} // without a checksum
	if src.Is4() {
		ip := []byte{0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0}
		ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
		var sum uint32
		for i := 0; i < 20; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
		frame = append(append(append(frame, 8, 0), ip...), udp...)
	} else {
		ip := []byte{0x60, 0, 0, 0, 0, 12, 17, 64}
		ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
		frame = append(append(append(frame, 0x86, 0xdd), ip...), udp...)
	}
	sent := func() uint64 {
		l, err := netlink.LinkByName("eth1")
		if err != nil {
			t.Fatal(err)
		}
		return l.Attrs().Statistics.TxPackets
	}
	before := sent()
	const n = 50 // what else eth1 sends (IPv6 that sets itself up) is less
	for range n {
		if err := d.Write(slices.Clone(frame)); err != nil {
			t.Fatal(err)
		}
		d.Flush()
	}
	return sent()-before >= n
}

// TestWhatAnotherProgramAddedStays: where a device is put back, and not made
// anew, a second address, a group's or one by router advertisement is no harm.
func TestWhatAnotherProgramAddedStays(t *testing.T) {
	inNamespace(t)
	_, ops := newPort(t, testPort())
	if err := Apply(ops); err != nil {
		t.Fatal(err)
	}
	for i, op := range ops {
		if a, ok := op.(vnet.Addresses); ok {
			a.Shared = true
			ops[i] = a
		}
	}
	run(t, "ip addr add 239.1.1.1/32 dev s4t-a autojoin")
	run(t, "ip addr add 2001:db8::7/64 dev s4t-a")
	if out, err := Restore(ops); err != nil || len(out.Changed) > 0 {
		t.Errorf("undone: %v, %v", out.Changed, err)
	}
	run(t, "ip addr del 10.77.0.2/24 dev s4t-a")
	if out, err := Restore(ops); err != nil || len(out.Changed) != 1 {
		t.Errorf("our own that was taken: %v, %v", out.Changed, err)
	}
	l, err := netlink.LinkByName("s4t-a")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10.77.0.2/24", "fd00:77::2/64", "239.1.1.1/32", "2001:db8::7/64"} {
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IPNet.String() == want }) {
			t.Errorf("%s is not there: %v", want, addrs)
		}
	}
}
