package vswitch

import (
	"testing"

	"github.com/stack4things/s4t"
)

// BenchmarkGuard is what the guards alone cost a frame. BenchmarkSwitch64K and
// BenchmarkTunnel are what it is to be compared with.
func BenchmarkGuard(b *testing.B) {
	l := newLab(b, 2)
	p := l.add(1, s4t.PortGuards{})
	l.add(2, s4t.PortGuards{})
	up := l.uplink(s4t.PortGuards{})
	tcp := make([]byte, 1460)
	tcp[12] = 5 << 4
	for _, tt := range []struct {
		name  string
		frame []byte
	}{
		{"IPv4", ether(mac(2), mac(1), 0x0800, ipv4(ip4(1), ip4(2), 6, tcp))},
		{"IPv6", ether(mac(2), mac(1), 0x86dd, ipv6(ip6(1), ip6(2), 6, tcp))},
		{"IPv6 link-local", ether(mac(2), mac(1), 0x86dd, ipv6(ll6(1), ll6(2), 6, tcp))},
		{"ARP", ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(9)))},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var f frame
			pkt := append(make([]byte, offloadLen), tt.frame...)
			if !f.parse(pkt, 2) {
				b.Fatal("the frame is not understood")
			}
			r := p.rules.Load()
			b.ReportAllocs()
			for b.Loop() {
				if p.guard(&f, r) != pass {
					b.Fatal("the frame is dropped")
				}
			}
		})
		b.Run(tt.name+" outward", func(b *testing.B) { // beside that of the port it comes from
			var f frame
			if !f.parse(append(make([]byte, offloadLen), tt.frame...), 2) {
				b.Fatal("the frame is not understood")
			}
			b.ReportAllocs()
			for b.Loop() {
				if p.mayLeave(up, &f) != pass {
					b.Fatal("the frame is dropped")
				}
			}
		})
	}
}
