package vswitch

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
)

var (
	anyIP4 = netip.IPv4Unspecified()
	anyIP6 = netip.IPv6Unspecified()
	router = netip.MustParseAddr("ff02::2")
)

func solicited(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, b[13], b[14], b[15]})
}

// dhcp is a message of op and type, for a client's MAC.
func dhcp(op, typ byte, yiaddr netip.Addr, client byte) []byte {
	b := make([]byte, dhcpOptions)
	b[0], b[1], b[2] = op, 1, 6
	y := yiaddr.As4()
	copy(b[16:], y[:])
	copy(b[28:], mac(client))
	binary.BigEndian.PutUint32(b[236:], dhcpCookie)
	return append(b, 0, 53, 1, typ, 255)
}

// advertisement is one of the router at port n: of a /64 that is valid for so
// many seconds.
func advertisement(n byte, prefix netip.Addr, valid uint32) []byte {
	ra := make([]byte, routerAdvertOptions+prefixOptionLen)
	ra[0] = routerAdvert
	copy(ra[routerAdvertOptions:], []byte{optionPrefix, 4, 64, 0xc0})
	binary.BigEndian.PutUint32(ra[routerAdvertOptions+4:], valid)
	p := prefix.As16()
	copy(ra[routerAdvertOptions+16:], p[:])
	nodes := netip.MustParseAddr("ff02::1")
	return ether(groupMAC6(nodes), mac(n), typeIPv6, ipv6(ll6(n), nodes, protoICMPv6, ra))
}

func fragmented(packet []byte, offset uint16, more bool) []byte {
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(packet[6:], offset)
	return packet
}

// chain puts extension headers before an IPv6 payload.
func chain(src, dst netip.Addr, proto byte, body []byte, headers ...byte) []byte {
	for i := len(headers) - 1; i >= 0; i-- {
		h := make([]byte, 8)
		h[0] = proto
		body, proto = append(h, body...), headers[i]
	}
	return ipv6(src, dst, proto, body)
}

func TestGuards(t *testing.T) {
	ra := nd(routerAdvert, anyIP6, 0, nil)
	const none = "" // reaches nobody
	tests := []struct {
		name  string
		frame []byte
		want  string // reached with guards
		drop  reason // with guards
		open  string // reached with AllowAnySource on the source port; "=" the same
	}{
		{"another's MAC", ether(mac(2), mac(3), 0x1234), none, spoofedMAC, none},
		{"a made-up MAC", ether(mac(2), mac(8), 0x1234), none, spoofedMAC, "2"},
		{"another's IPv4 address", ether(mac(2), mac(1), typeIPv4, ipv4(ip4(3), ip4(2), protoTCP, tcp(1, 2, 0))), none, spoofedIP, "2"},
		{"another's IPv6 address", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(3), ip6(2), protoTCP, tcp(1, 2, 0))), none, spoofedIP, "2"},
		{"its own IPv6 address", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoTCP, tcp(1, 2, 0))), "2", pass, "="},
		{"its own link-local address", ether(mac(2), mac(1), typeIPv6, ipv6(ll6(1), ll6(2), protoTCP, tcp(1, 2, 0))), "2", pass, "="},
		{"another's link-local address", ether(mac(2), mac(1), typeIPv6, ipv6(ll6(3), ll6(2), protoTCP, tcp(1, 2, 0))), none, spoofedIP, "2"},
		{"a private link-local address", ether(mac(2), mac(1), typeIPv6, ipv6(netip.MustParseAddr("fe80::1234"), ll6(2), protoTCP, tcp(1, 2, 0))), "2", pass, "="},
		{"0.0.0.0 without DHCP", ether(mac(2), mac(1), typeIPv4, ipv4(anyIP4, ip4(2), protoTCP, tcp(1, 2, 0))), none, spoofedIP, "2"},
		{"a later fragment of its own", ether(mac(2), mac(1), typeIPv4, fragmented(ipv4(ip4(1), ip4(2), protoUDP, make([]byte, 64)), 10, false)), "2", pass, "="},
		{"a later fragment of another", ether(mac(2), mac(1), typeIPv4, fragmented(ipv4(ip4(3), ip4(2), protoUDP, make([]byte, 64)), 10, false)), none, spoofedIP, "2"},
		{"a first fragment that hides its ports", ether(all, mac(1), typeIPv4, fragmented(ipv4(ip4(1), ip4(2), protoUDP, make([]byte, 4)), 0, true)), none, invalid, "="},

		{"an ARP request of its own", ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(9))), "23", pass, "="},
		{"an ARP announcement of its own", ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(1))), "23", pass, "="},
		{"an ARP answer", ether(mac(2), mac(1), typeARP, arpPacket(2, mac(1), ip4(1), ip4(2))), "2", pass, "="},
		{"an ARP probe for a free address", ether(all, mac(1), typeARP, arpPacket(1, mac(1), anyIP4, ip4(9))), "23", pass, "="},
		{"an ARP answer with another's address", ether(mac(2), mac(1), typeARP, arpPacket(2, mac(1), ip4(3), ip4(2))), none, spoofedARP, "2"},
		{"an ARP answer with another's MAC inside", ether(mac(2), mac(1), typeARP, arpPacket(2, mac(3), ip4(1), ip4(2))), none, spoofedARP, "2"},
		{"an ARP packet that is no ARP", ether(all, mac(1), typeARP, make([]byte, 28)), none, invalid, "="},

		{"an ARP answer with another's address behind a priority tag", ether(mac(2), mac(1), typeVLAN, []byte{0, 0, typeARP >> 8, typeARP & 0xff}, arpPacket(2, mac(1), ip4(3), ip4(2))), none, spoofedARP, "2"},
		{"another's IPv4 address behind two tags", ether(mac(2), mac(1), typeQinQ, []byte{0, 0, typeVLAN >> 8, 0, 0, 0, typeIPv4 >> 8, 0}, ipv4(ip4(3), ip4(2), protoTCP, tcp(1, 2, 0))), none, spoofedIP, "2"},
		{"three tags", ether(mac(2), mac(1), typeVLAN, []byte{0, 0, typeVLAN >> 8, 0, 0, 0, typeVLAN >> 8, 0, 0, 0, typeARP >> 8, typeARP & 0xff}, arpPacket(2, mac(1), ip4(3), ip4(2))), none, invalid, "="},
		{"ARP in LLC and SNAP", ether(mac(2), mac(1), 36, []byte{0xaa, 0xaa, 3, 0, 0, 0, typeARP >> 8, typeARP & 0xff}, arpPacket(2, mac(1), ip4(3), ip4(2))), none, invalid, "="},
		{"IPv6 in LLC and SNAP behind a priority tag", ether(mac(2), mac(1), typeVLAN, []byte{0, 0, 0, 90, 0xaa, 0xaa, 3, 0, 0, 0xf8, typeIPv6 >> 8, typeIPv6 & 0xff}, ipv6(ip6(3), ip6(2), protoTCP, tcp(1, 2, 0))), none, invalid, "="},
		{"AppleTalk in LLC and SNAP", ether(mac(2), mac(1), 36, []byte{0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b}, make([]byte, 28)), "2", pass, "="},

		{"DAD for its own address", ether(groupMAC6(solicited(ip6(1))), mac(1), typeIPv6, ipv6(anyIP6, solicited(ip6(1)), protoICMPv6, nd(neighbourSolicit, ip6(1), 0, nil))), "23", pass, "="},
		{"DAD for another's address is told who has it", ether(groupMAC6(solicited(ip6(2))), mac(1), typeIPv6, ipv6(anyIP6, solicited(ip6(2)), protoICMPv6, nd(neighbourSolicit, ip6(2), 0, nil))), "1", spoofedND, "23"},
		{"a solicitation for a free address", ether(groupMAC6(solicited(ip6(9))), mac(1), typeIPv6, ipv6(ip6(1), solicited(ip6(9)), protoICMPv6, nd(neighbourSolicit, ip6(9), optionSourceMAC, mac(1)))), "23", pass, "="},
		{"a solicitation with another's MAC inside", ether(groupMAC6(solicited(ip6(9))), mac(1), typeIPv6, ipv6(ip6(1), solicited(ip6(9)), protoICMPv6, nd(neighbourSolicit, ip6(9), optionSourceMAC, mac(3)))), none, spoofedND, "23"},
		{"a unicast solicitation", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoICMPv6, nd(neighbourSolicit, ip6(2), optionSourceMAC, mac(1)))), "2", pass, "="},
		{"an advertisement of its own", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoICMPv6, nd(neighbourAdvert, ip6(1), optionTargetMAC, mac(1)))), "2", pass, "="},
		{"an advertisement of another's address", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoICMPv6, nd(neighbourAdvert, ip6(3), optionTargetMAC, mac(1)))), none, spoofedND, "2"},
		{"an advertisement with another's MAC", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoICMPv6, nd(neighbourAdvert, ip6(1), optionTargetMAC, mac(3)))), none, spoofedND, "2"},
		{"ND in fragments", ether(mac(2), mac(1), typeIPv6, chain(ip6(1), ip6(2), protoICMPv6, nd(neighbourAdvert, ip6(1), 0, nil), 44)), none, spoofedND, none},
		{"ND from beyond the link", ether(mac(2), mac(1), typeIPv6, func() []byte {
			p := ipv6(ip6(1), ip6(2), protoICMPv6, nd(neighbourAdvert, ip6(1), 0, nil))
			p[7] = 64
			return p
		}()), none, spoofedND, none},
		{"a router solicitation stays where no router is", ether(groupMAC6(router), mac(1), typeIPv6, ipv6(anyIP6, router, protoICMPv6, nd(routerSolicitation, anyIP6, 0, nil)[:8])), none, pass, none},

		{"a router advertisement", ether(groupMAC6(netip.MustParseAddr("ff02::1")), mac(1), typeIPv6, ipv6(ll6(1), netip.MustParseAddr("ff02::1"), protoICMPv6, ra)), none, routerAdvertisement, "="},
		{"a router advertisement behind extension headers", ether(mac(2), mac(1), typeIPv6, chain(ll6(1), ip6(2), protoICMPv6, ra, 0, 60)), none, routerAdvertisement, "="},
		{"a redirect", ether(mac(2), mac(1), typeIPv6, ipv6(ll6(1), ip6(2), protoICMPv6, nd(redirect, ip6(2), 0, nil))), none, routerAdvertisement, "="},
		{"a header chain that does not end", ether(mac(2), mac(1), typeIPv6, chain(ll6(1), ip6(2), protoICMPv6, ra, 0, 60, 60, 60, 60, 60, 60, 60, 60)), none, invalid, "="},
		{"a header chain that is cut", ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), 60, []byte{58, 9, 0, 0, 0, 0, 0, 0})), none, invalid, "="},

		{"a DHCP client", ether(all, mac(1), typeIPv4, ipv4(anyIP4, netip.MustParseAddr("255.255.255.255"), protoUDP, udp(68, 67, dhcp(1, 1, anyIP4, 1)))), "23", pass, "="},
		{"a DHCP server", ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), ip4(2), protoUDP, udp(67, 68, dhcp(2, dhcpACK, ip4(2), 2)))), none, dhcpServer, "="},
		{"a DHCP server on another port number", ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), ip4(2), protoUDP, udp(6767, 68, nil))), none, dhcpServer, "="},
		{"a DHCPv6 client", ether(groupMAC6(netip.MustParseAddr("ff02::1:2")), mac(1), typeIPv6, ipv6(ll6(1), netip.MustParseAddr("ff02::1:2"), protoUDP, udp(546, 547, nil))), "23", pass, "="},
		{"a DHCPv6 server", ether(mac(2), mac(1), typeIPv6, ipv6(ll6(1), ll6(2), protoUDP, udp(547, 546, nil))), none, dhcpServer, "="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, anySource := range []bool{false, true} {
				l := newLab(t, 2)
				p := l.add(1, s4t.PortGuards{AllowAnySource: anySource})
				l.add(2, s4t.PortGuards{})
				l.add(3, s4t.PortGuards{})
				got := l.reached(p, tt.frame)
				want := tt.want
				if anySource && tt.open != "=" {
					want = tt.open
					// What is known to be another's is answered for it.
					if tt.drop == spoofedND && want == "23" && got == "1" {
						want = "1"
					}
				}
				if got != want {
					t.Errorf("any source %v: it reached %q, want %q", anySource, got, want)
				}
				if !anySource && tt.drop != pass && p.counts.dropped[tt.drop].Load() != 1 {
					t.Errorf("it was not counted for reason %d; counters %+v", tt.drop, p.Counters().Dropped)
				}
			}
		})
	}
}

func TestAnAllowedDHCPServerGivesAddressesAway(t *testing.T) {
	l := newLab(t, 2)
	server := l.add(1, s4t.PortGuards{AllowDHCP: true})
	client, other := l.add(2, s4t.PortGuards{}), l.add(3, s4t.PortGuards{})
	leased := netip.MustParseAddr("192.168.5.20")
	use := func(p *Port, n byte) string {
		return l.reached(p, ether(mac(1), mac(n), typeIPv4, ipv4(leased, ip4(1), protoTCP, tcp(1, 2, 0))))
	}
	if got := use(client, 2); got != "" {
		t.Errorf("before the lease the address reached %q", got)
	}
	ack := ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), leased, protoUDP, udp(67, 68, dhcp(2, dhcpACK, leased, 2))))
	if got := l.reached(server, ack); got != "2" {
		t.Fatalf("the server's answer reached %q", got)
	}
	if got := use(client, 2); got != "1" {
		t.Errorf("with the lease it reached %q", got)
	}
	if got := use(other, 3); got != "" {
		t.Errorf("from another port it reached %q", got)
	}
	// The server may have addresses that the cloud did not give it.
	own := netip.MustParseAddr("192.168.5.1")
	if got := l.reached(server, ether(mac(2), mac(1), typeIPv4, ipv4(own, leased, protoTCP, tcp(1, 2, 0)))); got != "2" {
		t.Errorf("the server's own address reached %q", got)
	}
	// Leased again to another, it is the other's.
	ack = ether(mac(3), mac(1), typeIPv4, ipv4(ip4(1), leased, protoUDP, udp(67, 68, dhcp(2, dhcpACK, leased, 3))))
	l.reached(server, ack)
	if a, b := use(client, 2), use(other, 3); a != "" || b != "1" {
		t.Errorf("after it went to port 3: port 2 reached %q, port 3 %q", a, b)
	}
	other.Close()
	delete(l.ports, "3")
	if got := l.sw.owners.owner(ipOf(leased)); got != nil {
		t.Errorf("the closed port still has the address")
	}
}

func TestADHCPv6LeaseIsNoted(t *testing.T) {
	l := newLab(t, 2)
	server, client := l.add(1, s4t.PortGuards{AllowDHCP: true}), l.add(2, s4t.PortGuards{})
	leased := netip.MustParseAddr("2001:db8::7")
	a := leased.As16()
	address := append([]byte{0, 5, 0, 24}, append(a[:], make([]byte, 8)...)...)
	ia := append([]byte{0, 3, 0, byte(12 + len(address))}, append(make([]byte, 12), address...)...)
	reply := append([]byte{dhcp6Reply, 1, 2, 3}, ia...)
	if got := l.reached(server, ether(mac(2), mac(1), typeIPv6, ipv6(ll6(1), ll6(2), protoUDP, udp(547, 546, reply)))); got != "2" {
		t.Fatalf("the reply reached %q", got)
	}
	if got := l.reached(client, ether(mac(1), mac(2), typeIPv6, ipv6(leased, ip6(1), protoTCP, tcp(1, 2, 0)))); got != "1" {
		t.Errorf("the leased address reached %q", got)
	}
}

func TestAnAllowedRouterMakesItsPrefixUsable(t *testing.T) {
	l := newLab(t, 2)
	r := l.add(1, s4t.PortGuards{AllowRA: true})
	host, other := l.add(2, s4t.PortGuards{}), l.add(3, s4t.PortGuards{})
	made := netip.MustParseAddr("2001:db8:1::5")
	use := func(p *Port, n byte) string {
		return l.reached(p, ether(mac(1), mac(n), typeIPv6, ipv6(made, ip6(1), protoTCP, tcp(1, 2, 0))))
	}
	if got := use(host, 2); got != "" {
		t.Errorf("before the advertisement it reached %q", got)
	}
	if got := l.reached(r, advertisement(1, netip.MustParseAddr("2001:db8:1::"), 3600)); got != "23" {
		t.Fatalf("the advertisement reached %q", got)
	}
	if a, b := use(host, 2), use(other, 3); a != "1" || b != "" {
		t.Errorf("who is first keeps it: port 2 reached %q, port 3 %q", a, b)
	}
}

func TestStormLimit(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, s4t.PortGuards{StormLimit: 100})
	l.add(2, s4t.PortGuards{})
	frame := ether(all, mac(1), 0x1234)
	passed := func(n int) (got int) {
		for range n {
			got += len(l.reached(p, frame))
		}
		return got
	}
	l.now(1)
	if n := passed(1000); n != 200 {
		t.Errorf("a burst of 1000 at 100/s: %d passed, want 200", n)
	}
	l.now(1 + 500e6)
	if n := passed(1000); n != 50 {
		t.Errorf("half a second later %d passed, want 50", n)
	}
	if got := l.reached(p, unicast(1, 2, 0)); got != "2" {
		t.Errorf("unicast reached %q", got)
	}
	if n := p.Counters().Dropped.Storm; n != 1750 {
		t.Errorf("storm is %d, want 1750", n)
	}
	t.Run("a super-frame counts as its segments", func(t *testing.T) {
		l.now(1 + 5e9)
		big := append(make([]byte, offloadLen), ether(all, mac(1), typeIPv4, ipv4(ip4(1), netip.MustParseAddr("10.77.0.255"), protoUDP, udp(1, 2, make([]byte, 20000))))...)
		big[1], big[4], big[5] = 5, 200, 0 // 100 segments of 200 bytes
		for range 3 {
			p.Input(big)
		}
		if n := len(l.drain(l.ports["2"])); n != 1 {
			t.Errorf("%d passed of three of a hundred segments each, want 1", n)
		}
	})
}
