package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// forgedARP is an answer to all that says that mac has the address of another.
func forgedARP(mac net.HardwareAddr, address netip.Addr) []byte {
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	b = append(append(b, mac...), address.AsSlice()...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), address.AsSlice()...)
	return append(b, make([]byte, 60-len(b))...)
}

// forgedRA is an advertisement of mac as a router (RFC 4861, section 4.2).
func forgedRA(mac net.HardwareAddr) []byte {
	from := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	to := netip.MustParseAddr("ff02::1")
	icmp := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	sum := uint32(58 + len(icmp))
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), icmp} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum))
	b := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(icmp)), 58, 255)
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), icmp...)
}

// TestALiftedPortSaysNothingFalseToTheDataCentre: an admin has put a network
// into a bridge of the cloud host, and a board's port there has all its guards
// lifted.
func TestALiftedPortSaysNothingFalseToTheDataCentre(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	board, vm := c.Boards[1].Host, c.Lab.User // the VM is the user's host, behind a second interface
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "dc", "--board", "board1")
	at := hostAddress(t, b)
	hostRun(t, c.Lab.Cloud, "ip link add br0 type bridge mcast_snooping 0")
	hostRun(t, c.Lab.Cloud, "ip link set br0 up")
	cable(t, vm, "vm0", c.Lab.Cloud, "vmport")
	hostRun(t, c.Lab.Cloud, "ip link set vmport address 02:00:00:00:0a:01")
	hostRun(t, c.Lab.Cloud, "ip link set vmport master br0 up")
	hostRun(t, vm, "sysctl -qw net.ipv6.conf.vm0.accept_ra=2")
	hostRun(t, vm, "ip addr add %v dev vm0", at)
	hostRun(t, vm, "ip link set vm0 up")
	gateway := at.Addr().Next()
	hostRun(t, vm, "ip neigh replace %v lladdr 02:00:00:00:0a:fe nud stale dev vm0", gateway)
	runS4T(t, c, "network", "uplink", "dc", "--bridge", "br0")
	s4tJSON(t, c, &b, "bridge", "add", "dc", "--board", "board2", "--allow-any-source", "--allow-dhcp", "--allow-ra")
	iface, to := interfaceOf(t, b, "board2"), addressOf(t, b, "board2", false)
	within(t, 10*time.Second, "what is true passes", func() error { return ping(t.Context(), vm, to) })

	mac, err := net.ParseMAC(strings.TrimSpace(hostRun(t, board, "cat /sys/class/net/%s/address", iface)))
	if err != nil {
		t.Fatal(err)
	}
	forge := func() {
		for _, frame := range [][]byte{forgedARP(mac, gateway), forgedRA(mac)} {
			if err := board.SendFrame(iface, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	believed := func() string {
		return hostRun(t, vm, "ip neigh show %v dev vm0", gateway) + hostRun(t, vm, "ip -6 route show default dev vm0")
	}
	believes := func() (arp, ra bool) {
		text := believed()
		return strings.Contains(text, mac.String()), strings.Contains(text, "proto ra")
	}
	within(t, 20*time.Second, "the forged frames are dropped and counted", func() error {
		forge()
		var n s4t.Network
		s4tJSON(t, c, &n, "network", "show", "dc")
		if k := n.Uplink.Counters; k == nil || k.Dropped.SpoofedARP < 3 || k.Dropped.RouterAdvertisement < 3 {
			return fmt.Errorf("counters %+v", k)
		}
		return nil
	})
	if arp, ra := believes(); arp || ra {
		t.Errorf("the VM believes a board:\n%s", believed())
	}

	// The admin lets them out: that they do reach the VM says that they were
	// worth dropping.
	runS4T(t, c, "network", "uplink", "dc", "--bridge", "br0", "--allow-out", "any-source,ra", "--allow-lifted")
	within(t, 20*time.Second, "let out, the VM believes them", func() error {
		forge()
		if arp, ra := believes(); !arp || !ra {
			return fmt.Errorf("the VM has:\n%s", believed())
		}
		return nil
	})
}
