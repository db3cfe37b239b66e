package vswitch

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// fullPorts adds n ports with any source, each of which has all the addresses
// it may have.
func fullPorts(t testing.TB, l *lab, n int) []*Port {
	ports := make([]*Port, n)
	for i := range ports {
		p, err := l.sw.Add(PortConfig{ID: fmt.Sprint("full ", i), Guards: open, Out: nowhere{}})
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = p
		for host := range macLimit {
			l.send(p, ether(hostMAC(i, 0), hostMAC(i, host), 0x1234)) // to its own side: nobody else gets it
		}
	}
	return ports
}

// hostMAC is the MAC of a host behind a port.
func hostMAC(port, host int) []byte {
	m := []byte{2, 7, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(m[2:], uint16(port))
	binary.BigEndian.PutUint16(m[4:], uint16(host))
	return m
}

// BenchmarkAFullPort is what a frame from a new MAC costs where the port has
// all the MACs it may have, with so many ports like it in the switch.
func BenchmarkAFullPort(b *testing.B) {
	for _, n := range []int{1, 10, 50, 250} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := fullPorts(b, newLab(b, 2), n)[0]
			pkt := append(make([]byte, offloadLen), ether(mac(250), []byte{2, 8, 0, 0, 0, 0}, 0x1234)...)
			i := uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				i++
				binary.BigEndian.PutUint32(pkt[offloadLen+8:], i)
				p.Input(pkt)
				p.Flush()
			}
			if d := p.Counters().Dropped; d.MACLimit == 0 {
				b.Errorf("dropped %+v", d)
			}
		})
	}
}
