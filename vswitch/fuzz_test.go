package vswitch

import (
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
)

// FuzzInput feeds arbitrary frames to guarded and open ports of both layers.
// Nothing may panic, and what a guarded port passes on is from its own MAC.
func FuzzInput(f *testing.F) {
	g := netip.MustParseAddr("239.1.2.3")
	nodes := netip.MustParseAddr("ff02::1")
	for _, frame := range [][]byte{
		unicast(1, 2, 10),
		ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(2))),
		ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ip6(1), solicited(ip6(2)), protoICMPv6, nd(neighbourSolicit, ip6(2), optionSourceMAC, mac(1)))),
		ether(groupMAC6(nodes), mac(1), typeIPv6, ipv6(ll6(1), nodes, protoICMPv6, nd(routerAdvert, anyIP6, optionPrefix, mac(1)))),
		ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), ip4(2), protoUDP, udp(67, 68, dhcp(2, dhcpACK, ip4(9), 2)))),
		ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoUDP, udp(547, 546, []byte{7, 0, 0, 0, 0, 3, 0, 4, 1, 2, 3, 4}))),
		ether(groupMAC4(g), mac(1), typeIPv4, ipv4(ip4(1), g, protoIGMP, igmp3(4, g))),
		ether(groupMAC6(nodes), mac(1), typeIPv6, chain(ll6(1), nodes, protoICMPv6, mld2(4, nodes), 0)),
		ether(all, mac(1), typeVLAN, []byte{0, 1, 8, 0}, ipv4(ip4(1), ip4(2), protoTCP, tcp(1, 2, 3))),
		ipv4(ip4(1), ip4(2), protoTCP, tcp(1, 2, 3)),
		ipv6(ip6(1), ip6(2), protoTCP, tcp(1, 2, 3)),
	} {
		f.Add(append(make([]byte, offloadLen), frame...))
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		for _, layer := range []int{2, 3} {
			for _, guards := range []s4t.PortGuards{{}, open, {AllowDHCP: true, AllowRA: true}, {AllowAnySource: true, AllowDHCP: true, AllowRA: true}} {
				l := newLab(t, layer)
				p := l.add(1, guards)
				l.add(2, s4t.PortGuards{})
				l.add(3, open)
				p.Input(append([]byte(nil), pkt...))
				p.Flush()
				for _, n := range []string{"2", "3"} {
					for _, got := range l.drain(l.ports[n]) {
						if layer == 2 && !guards.AllowAnySource && macAt(got[6:]) != ipMAC(1) && macAt(got[6:]) != l.sw.mac {
							t.Errorf("port %s got a frame from %x", n, got[6:12])
						}
					}
				}
				peer, err := l.sw.Add(PortConfig{ID: "peer", Out: nowhere{}, Peer: &PeerConfig{Layout: func(dst []byte, _ Origin, pkt []byte) int { n := header(dst, len(pkt)); return n + copy(dst[n:], pkt) }}})
				if err != nil {
					t.Fatal(err)
				}
				for _, from := range []Origin{0, Own, Outside, Announce, Probe} {
					peer.InputFrom(from, append([]byte(nil), pkt...))
				}
				peer.Flush()
				c := p.Counters()
				if c.RxFrames != 1 {
					t.Errorf("counted %d frames", c.RxFrames)
				}
			}
		}
	})
}

// ipMAC is the MAC of port n as an address.
func ipMAC(n byte) address { return macAt(mac(n)) }
