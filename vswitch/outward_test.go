package vswitch

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
)

// uplink adds port 9: machines that are not the project's.
func (l *lab) uplink(g s4t.PortGuards) *Port {
	l.t.Helper()
	g.AllowAnySource = true
	p, err := l.sw.Add(PortConfig{ID: "9", Guards: g, Outward: true, Out: nowhere{}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.ports["9"] = p
	l.settle()
	return p
}

// lifted is all that a user can lift of his own port.
var lifted = s4t.PortGuards{AllowAnySource: true, AllowDHCP: true, AllowRA: true, StormLimit: 2_000_000_000}

func TestWhatLeavesTheNetworkIsGuardedWhoeverLiftedWhat(t *testing.T) {
	nodes, gateway := netip.MustParseAddr("ff02::1"), netip.MustParseAddr("10.77.0.254")
	ra := nd(routerAdvert, anyIP6, 0, nil)
	anySource, dhcpServed, routed := s4t.OutwardGuards{AllowAnySource: true}, s4t.OutwardGuards{AllowDHCP: true}, s4t.OutwardGuards{AllowRA: true}
	tests := []struct {
		name  string
		frame []byte
		drop  reason            // pass: it leaves
		lets  s4t.OutwardGuards // what lets it out
	}{
		{"its own ARP", ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), gateway)), pass, anySource},
		{"ARP for its gateway's address", ether(all, mac(1), typeARP, arpPacket(2, mac(1), gateway, ip4(2))), spoofedARP, anySource},
		{"ARP for another port's address", ether(all, mac(1), typeARP, arpPacket(2, mac(1), ip4(3), ip4(3))), spoofedARP, anySource},
		{"ARP with another's MAC inside", ether(all, mac(1), typeARP, arpPacket(2, mac(7), ip4(1), ip4(1))), spoofedARP, anySource},
		{"ARP for its gateway's address behind a tag", ether(all, mac(1), typeVLAN, []byte{0, 5, typeARP >> 8, typeARP & 0xff}, arpPacket(2, mac(1), gateway, ip4(2))), spoofedARP, anySource},
		{"an ARP probe", ether(all, mac(1), typeARP, arpPacket(1, mac(1), anyIP4, gateway)), pass, anySource},
		{"another's MAC", ether(all, mac(7), 0x1234), spoofedMAC, anySource},
		{"its own MAC", ether(all, mac(1), 0x1234), pass, anySource},
		{"another's IPv4 address", ether(mac(7), mac(1), typeIPv4, ipv4(gateway, ip4(7), protoTCP, tcp(1, 2, 0))), spoofedIP, anySource},
		{"its own IPv4 address", ether(mac(7), mac(1), typeIPv4, ipv4(ip4(1), ip4(7), protoTCP, tcp(1, 2, 0))), pass, anySource},
		{"another's IPv6 address", ether(mac(7), mac(1), typeIPv6, ipv6(ip6(7), ip6(8), protoTCP, tcp(1, 2, 0))), spoofedIP, anySource},
		{"another's link-local address", ether(mac(7), mac(1), typeIPv6, ipv6(ll6(7), ll6(8), protoTCP, tcp(1, 2, 0))), spoofedIP, anySource},
		{"its own link-local address", ether(mac(7), mac(1), typeIPv6, ipv6(ll6(1), ll6(8), protoTCP, tcp(1, 2, 0))), pass, anySource},
		{"no IPv6 address", ether(mac(7), mac(1), typeIPv6, ipv6(anyIP6, ip6(8), protoTCP, tcp(1, 2, 0))), spoofedIP, anySource},
		{"an advertisement of its own address", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ip6(1), nodes, protoICMPv6, nd(neighbourAdvert, ip6(1), optionTargetMAC, mac(1)))), pass, anySource},
		{"an advertisement of another's address", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ip6(1), nodes, protoICMPv6, nd(neighbourAdvert, ip6(7), optionTargetMAC, mac(1)))), spoofedND, anySource},
		{"a solicitation with another's MAC", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ip6(1), solicited(ip6(7)), protoICMPv6, nd(neighbourSolicit, ip6(7), optionSourceMAC, mac(7)))), spoofedND, anySource},
		{"DAD for another's address", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(anyIP6, solicited(ip6(7)), protoICMPv6, nd(neighbourSolicit, ip6(7), 0, nil))), spoofedND, anySource},
		{"DAD for its own address", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(anyIP6, solicited(ip6(1)), protoICMPv6, nd(neighbourSolicit, ip6(1), 0, nil))), pass, anySource},
		{"a router solicitation", ether(groupMAC6(router), mac(1), typeIPv6, ipv6(ll6(1), router, protoICMPv6, nd(routerSolicitation, anyIP6, 0, nil)[:8])), pass, anySource},
		{"a router advertisement", ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ll6(1), nodes, protoICMPv6, ra)), routerAdvertisement, routed},
		{"a router advertisement behind a header", ether(groupMAC6(nodes), mac(1), typeIPv6, chain(ll6(1), nodes, protoICMPv6, ra, 0)), routerAdvertisement, routed},
		{"a redirect", ether(mac(7), mac(1), typeIPv6, ipv6(ll6(1), ll6(7), protoICMPv6, nd(redirect, ip6(7), 0, nil))), routerAdvertisement, routed},
		{"a DHCP client", ether(all, mac(1), typeIPv4, ipv4(anyIP4, netip.MustParseAddr("255.255.255.255"), protoUDP, udp(68, 67, dhcp(1, 1, anyIP4, 1)))), pass, anySource},
		{"a DHCP server", ether(all, mac(1), typeIPv4, ipv4(ip4(1), ip4(7), protoUDP, udp(67, 68, dhcp(2, dhcpACK, ip4(7), 7)))), dhcpServer, dhcpServed},
		{"a DHCPv6 server", ether(mac(7), mac(1), typeIPv6, ipv6(ll6(1), ll6(7), protoUDP, udp(547, 546, nil))), dhcpServer, dhcpServed},
	}
	everything := s4t.OutwardGuards{AllowAnySource: true, AllowDHCP: true, AllowRA: true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, out := range []s4t.OutwardGuards{{}, tt.lets, everything} {
				l := newLab(t, 2)
				p, up := l.add(1, lifted), l.uplink(s4t.PortGuards{Outward: out})
				got, want := l.reached(p, tt.frame), "9"
				if tt.drop != pass && out == (s4t.OutwardGuards{}) {
					want = ""
				}
				if got != want {
					t.Errorf("with %+v it reached %q, want %q; counters %+v", out, got, want, up.Counters().Dropped)
				}
				if n := up.counts.dropped[tt.drop].Load(); want == "" && n != 1 {
					t.Errorf("the uplink does not count it for reason %d: %+v", tt.drop, up.Counters().Dropped)
				}
			}
		})
	}
}

func TestNobodyGetsAnAddressForTheDataCentreFromHisNeighbour(t *testing.T) {
	gateway, wide := netip.MustParseAddr("10.77.0.254"), netip.MustParseAddr("2001:db8:1::5")
	t.Run("an accomplice's DHCP server", func(t *testing.T) {
		l := newLab(t, 2)
		server, client := l.add(1, s4t.PortGuards{AllowDHCP: true}), l.add(2, s4t.PortGuards{})
		l.add(3, s4t.PortGuards{})
		up := l.uplink(s4t.PortGuards{})
		l.reached(server, ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), gateway, protoUDP, udp(67, 68, dhcp(2, dhcpACK, gateway, 2)))))
		if got := l.reached(client, ether(all, mac(2), typeARP, arpPacket(2, mac(2), gateway, gateway))); got != "13" {
			t.Errorf("an announcement of the leased address reached %q, want the network alone", got)
		}
		if got := l.reached(up, ether(all, mac(7), typeARP, arpPacket(1, mac(7), ip4(7), gateway))); got != "123" {
			t.Errorf("the data centre's question reached %q: nobody but its gateway may answer", got)
		}
		if got := l.reached(up, ether(all, mac(7), typeARP, arpPacket(1, mac(7), ip4(7), ip4(3)))); got != "9" {
			t.Errorf("the data centre's question for a port's own address reached %q, want an answer", got)
		}
	})
	t.Run("an accomplice's router", func(t *testing.T) {
		l := newLab(t, 2)
		rt, host := l.add(1, s4t.PortGuards{AllowRA: true}), l.add(2, s4t.PortGuards{})
		l.uplink(s4t.PortGuards{})
		l.reached(rt, advertisement(1, netip.MustParseAddr("2001:db8:1::"), 3600))
		if got := l.reached(host, ether(all, mac(2), typeIPv6, ipv6(wide, netip.MustParseAddr("ff02::1"), protoUDP, udp(1, 2, nil)))); got != "1" {
			t.Errorf("an address in its prefix reached %q, want the network alone", got)
		}
	})
	t.Run("a link-local address that nobody has used", func(t *testing.T) {
		l := newLab(t, 2)
		host := l.add(1, s4t.PortGuards{})
		l.uplink(s4t.PortGuards{})
		if got := l.reached(host, ether(all, mac(1), typeIPv6, ipv6(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), protoUDP, udp(1, 2, nil)))); got != "" {
			t.Errorf("it reached %q", got)
		}
	})
	t.Run("the data centre's own DHCP server and router", func(t *testing.T) {
		l := newLab(t, 2)
		host, server := l.add(1, s4t.PortGuards{}), l.add(2, s4t.PortGuards{AllowDHCP: true})
		up := l.uplink(s4t.PortGuards{AllowDHCP: true, AllowRA: true})
		leased := netip.MustParseAddr("10.77.0.100")
		lease := func(p *Port, from net.HardwareAddr, to byte) {
			l.reached(p, ether(mac(to), from, typeIPv4, ipv4(ip4(7), leased, protoUDP, udp(67, 68, dhcp(2, dhcpACK, leased, to)))))
		}
		lease(server, mac(2), 2)
		lease(up, mac(7), 1)
		if got := l.reached(host, ether(all, mac(1), typeARP, arpPacket(2, mac(1), leased, leased))); got != "29" {
			t.Errorf("an announcement of the address that it leased reached %q", got)
		}
		lease(server, mac(2), 2) // somebody else's server does not take it away
		if got := l.reached(host, ether(all, mac(1), typeARP, arpPacket(2, mac(1), leased, leased))); got != "29" {
			t.Errorf("after another's lease it reached %q", got)
		}
		l.reached(up, advertisement(7, netip.MustParseAddr("2001:db8:1::"), 3600))
		if got := l.reached(host, ether(all, mac(1), typeIPv6, ipv6(wide, netip.MustParseAddr("ff02::1"), protoUDP, udp(1, 2, nil)))); got != "29" {
			t.Errorf("an address in its prefix reached %q", got)
		}
	})
}

func TestTheDataCentreGetsNoStorm(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, lifted)
	l.add(2, s4t.PortGuards{})
	up := l.uplink(s4t.PortGuards{})
	l.now(1)
	out := 0
	for range 5000 {
		l.send(p, ether(all, mac(1), 0x1234))
		out += len(l.drain(up))
		l.drain(l.ports["2"])
	}
	if out != stormBurst*defaultStorm {
		t.Errorf("%d frames of a storm left, want %d", out, stormBurst*defaultStorm)
	}
	if n := up.Counters().Dropped.Storm; n != uint64(5000-out) {
		t.Errorf("the uplink counts %d", n)
	}
	if n := p.Counters().Dropped.Storm; n != 0 {
		t.Errorf("within the network %d were dropped, whose limit was lifted", n)
	}
}

func TestAnAdminLetsOutWhatIsThereAlready(t *testing.T) {
	l := newLab(t, 2)
	p, up := l.add(1, lifted), l.uplink(s4t.PortGuards{})
	frame := ether(all, mac(8), 0x1234) // of the LAN behind the port
	if got := l.reached(p, frame); got != "" {
		t.Errorf("it reached %q", got)
	}
	if err := up.Update(PortConfig{ID: "9", Guards: s4t.PortGuards{AllowAnySource: true, Outward: s4t.OutwardGuards{AllowAnySource: true}}, Outward: true, Out: nowhere{}}); err != nil {
		t.Fatal(err)
	}
	if got := l.reached(p, frame); got != "9" {
		t.Errorf("let out, it reached %q", got)
	}
}

func TestThereIsNoWayOutOnLayer3(t *testing.T) {
	l := newLab(t, 3)
	if _, err := l.sw.Add(PortConfig{ID: "9", Guards: s4t.PortGuards{AllowAnySource: true}, Outward: true, Out: nowhere{}}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("error %v", err)
	}
}
