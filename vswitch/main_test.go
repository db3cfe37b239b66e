package vswitch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// header stands for rtunnel.PutHeader: four bytes of length.
func header(dst []byte, payload int) int {
	binary.BigEndian.PutUint32(dst, uint32(payload))
	return 4
}

func anything([]byte, int) error { return nil }

// lab is a switch whose ports have no goroutines: what waits for a port is
// taken from its queue by the test.
type lab struct {
	t      testing.TB
	sw     *Switch
	ports  map[string]*Port
	events []Event
}

func newLab(t testing.TB, layer int) *lab {
	l := &lab{t: t, ports: map[string]*Port{}}
	sw, err := New(Config{Layer: layer, Validate: anything, Header: header, OnEvent: func(e Event) { l.events = append(l.events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	l.sw = sw
	return l
}

type nowhere struct{}

func (nowhere) WriteFrames([]byte) error { return nil }

// mac and ip are those of port n.
func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }
func ip4(n byte) netip.Addr       { return netip.AddrFrom4([4]byte{10, 77, 0, n}) }
func ip6(n byte) netip.Addr       { return netip.MustParseAddr("fd00:77::" + string('0'+n)) }
func ll6(n byte) netip.Addr       { return netip.MustParseAddr("fe80::ff:fe00:" + string('0'+n)) }

// add adds port n, named "1", "2", ..., and takes what it is greeted with.
func (l *lab) add(n byte, g s4t.PortGuards) *Port {
	l.t.Helper()
	p, err := l.sw.Add(PortConfig{
		ID: string('0' + n), MAC: mac(n), Guards: g, Out: nowhere{},
		Addresses: []netip.Prefix{netip.PrefixFrom(ip4(n), 24), netip.PrefixFrom(ip6(n), 64)},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.ports[p.id] = p
	l.settle()
	return p
}

// settle makes all newcomers old and empties the queues.
func (l *lab) settle() {
	for _, p := range l.ports {
		p.attached.Store(-int64(newcomerTime))
		l.drain(p)
	}
}

// pass lets time go by for the ports.
func (l *lab) now(ns int64) {
	for _, p := range l.ports {
		p.now, p.inBatch = ns, true
	}
}

// drain returns what waits for a port, and checks that it is laid out well.
func (l *lab) drain(p *Port) (frames [][]byte) {
	l.t.Helper()
	for {
		r, ok := p.out.q.take(chunkSize)
		if !ok {
			p.out.q.mu.Lock()
			if p.out.q.bytes != 0 {
				l.t.Fatalf("an empty queue counts %d bytes", p.out.q.bytes)
			}
			p.out.q.mu.Unlock()
			return frames
		}
		var run []byte
		if r.sparse != nil {
			run = append(run, r.sparse.b[:r.sparse.end()]...)
		}
		run = append(run, r.piece...)
		p.out.q.done(r)
		for len(run) > 0 {
			n := int(binary.BigEndian.Uint32(run))
			if n > len(run)-4 {
				l.t.Fatal("a run does not end with a frame")
			}
			frames = append(frames, run[4+offloadLen:4+n])
			run = run[4+n:]
		}
	}
}

// send is one batch of one frame.
func (l *lab) send(p *Port, frame []byte) {
	p.Input(append(make([]byte, offloadLen), frame...))
	for i := range p.wakes {
		p.wakes[i] = nil
	}
	p.wakes = p.wakes[:0]
}

// reached sends a frame from a port and returns which ports got something.
func (l *lab) reached(p *Port, frame []byte) string {
	l.t.Helper()
	l.send(p, frame)
	got := ""
	for n := byte(1); n < 10; n++ {
		if d := l.ports[string('0'+n)]; d != nil {
			for range l.drain(d) {
				got += d.id
			}
		}
	}
	return got
}

// Frames.

var all = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func ether(dst, src net.HardwareAddr, typ uint16, body ...[]byte) []byte {
	b := append(append([]byte{}, dst...), src...)
	b = binary.BigEndian.AppendUint16(b, typ)
	for _, x := range body {
		b = append(b, x...)
	}
	for len(b) < 60 {
		b = append(b, 0)
	}
	return b
}

func ipv4(src, dst netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, 20, 20+len(body))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return append(b, body...)
}

func ipv6(src, dst netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[7] = 0x60, proto, 255
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, body...)
}

func udp(from, to uint16, body []byte) []byte {
	b := make([]byte, 8, 8+len(body))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(body)))
	return append(b, body...)
}

func tcp(from, to uint16, payload int) []byte {
	b := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	b[12] = 5 << 4
	return b
}

func arpPacket(op byte, sha net.HardwareAddr, spa netip.Addr, tpa netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, op}
	s, t := spa.As4(), tpa.As4()
	b = append(append(b, sha...), s[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, t[:]...)
}

// nd is a message of neighbour discovery with a target and a MAC option; typ
// of the option 0: none.
func nd(typ byte, target netip.Addr, option byte, m net.HardwareAddr) []byte {
	b := make([]byte, 8, 32)
	b[0] = typ
	t := target.As16()
	b = append(b, t[:]...)
	if option != 0 {
		b = append(append(b, option, 1), m...)
	}
	return b
}

// unicast is a TCP segment from port a to port b.
func unicast(a, b byte, payload int) []byte {
	return ether(mac(b), mac(a), typeIPv4, ipv4(ip4(a), ip4(b), protoTCP, tcp(1000, 2000, payload)))
}

// groupMAC4 is the MAC of an IPv4 group.
func groupMAC4(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
}

// groupMAC6 is the MAC of an IPv6 group.
func groupMAC6(a netip.Addr) net.HardwareAddr {
	b := a.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
