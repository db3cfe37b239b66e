package link

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// builder makes test packets. Zero fields mean a plain IPv4 TCP packet.
type builder struct {
	layer   int // 2 by default
	vlans   int
	v6      bool
	ext     int // bytes of IPv6 destination options, a multiple of 8
	options int // bytes of IPv4 options, a multiple of 4
	udp     bool
	tcpOpt  int  // bytes of TCP options, a multiple of 4
	flags   byte // of TCP
	payload int
	size    int // GSOSize; 0: no super-frame
	ecn     bool
	whole   bool // checksum already complete, no offload header
}

var (
	testSrc4, testDst4 = netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("10.77.0.3")
	testSrc6, testDst6 = netip.MustParseAddr("fd00:77::2"), netip.MustParseAddr("fd00:77::3")
)

func (b builder) packet() []byte {
	f := make([]byte, HeaderLen, HeaderLen+maxHeaders+b.payload)
	ether := uint16(etherIPv4)
	if b.v6 {
		ether = etherIPv6
	}
	if b.layer != 3 {
		f = append(f, 2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 2)
		for range b.vlans {
			f = append(f, 0x81, 0, 0, 7)
		}
		f = binary.BigEndian.AppendUint16(f, ether)
	}
	l3 := len(f)
	proto, l4len := byte(protoTCP), 20+b.tcpOpt
	if b.udp {
		proto, l4len = protoUDP, 8
	}
	l4len += b.payload
	if b.v6 {
		next := proto
		if b.ext > 0 {
			next = extDest
		}
		f = append(f, 0x60, 0, 0, 0)
		f = binary.BigEndian.AppendUint16(f, uint16(b.ext+l4len))
		f = append(f, next, 64)
		f = append(f, testSrc6.AsSlice()...)
		f = append(f, testDst6.AsSlice()...)
		if b.ext > 0 {
			f = append(f, proto, byte(b.ext/8-1), 1, byte(b.ext-4)) // PadN
			f = append(f, make([]byte, b.ext-4)...)
		}
	} else {
		head := 20 + b.options
		f = append(f, 0x40|byte(head/4), 0)
		f = binary.BigEndian.AppendUint16(f, uint16(head+l4len))
		f = append(f, 0xff, 0xfe, 0x40, 0, 64, proto, 0, 0) // the id wraps around early
		f = append(f, testSrc4.AsSlice()...)
		f = append(f, testDst4.AsSlice()...)
		f = append(f, bytes.Repeat([]byte{1}, b.options)...) // NOP
		binary.BigEndian.PutUint16(f[l3+10:], ^naiveSum(f[l3:]))
	}
	l4 := len(f)
	offset := 16
	if b.udp {
		offset = 6
		f = append(f, 0x13, 0x88, 0x13, 0x89)
		f = binary.BigEndian.AppendUint16(f, uint16(l4len))
		f = append(f, 0, 0)
	} else {
		f = append(f, 0x13, 0x88, 0x13, 0x89, 0xff, 0xff, 0xf0, 0, 1, 2, 3, 4)
		f = append(f, byte(20+b.tcpOpt)<<2, b.flags, 0x20, 0, 0, 0, 0, 0)
		f = append(f, bytes.Repeat([]byte{1}, b.tcpOpt)...)
	}
	head := len(f)
	for i := range b.payload {
		f = append(f, byte(i*7+i>>8))
	}
	l, ok := find(f[HeaderLen:], max(b.layer, 2))
	if !ok {
		panic("the builder makes a broken packet")
	}
	sum := l.pseudo(f[HeaderLen:], l4len)
	binary.BigEndian.PutUint16(f[l4+offset:], sum)
	if b.whole {
		sum = ^naiveSum(f[l4:])
		if b.udp && sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(f[l4+offset:], sum)
		return f
	}
	h := Header{Flags: FlagNeedsChecksum, CSumStart: uint16(l4 - HeaderLen), CSumOffset: uint16(offset)}
	if b.size > 0 {
		h.HdrLen, h.GSOSize = uint16(head-HeaderLen), uint16(b.size)
		switch {
		case b.udp:
			h.GSOType = GSOUDP
		case b.v6:
			h.GSOType = GSOTCPv6
		default:
			h.GSOType = GSOTCPv4
		}
		if b.ecn {
			h.GSOType |= GSOECN
		}
	}
	h.Put(f)
	return f
}

// naiveSum is RFC 1071 as it is written there.
func naiveSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// checkSums fails the test unless the checksums of frame are right.
func checkSums(t *testing.T, frame []byte, layer int) {
	t.Helper()
	l, ok := find(frame, layer)
	if !ok {
		t.Fatalf("frame %x... is broken", frame[:min(len(frame), 64)])
	}
	if l.version == 4 {
		if s := naiveSum(frame[l.l3 : l.l3+int(frame[l.l3]&15)*4]); s != 0xffff {
			t.Errorf("IPv4 header sums to %04x", s)
		}
	}
	all := uint32(l.pseudo(frame, len(frame)-l.l4)) + uint32(naiveSum(frame[l.l4:]))
	if s := all&0xffff + all>>16; s != 0xffff {
		t.Errorf("protocol %d sums to %04x", l.proto, s)
	}
}

// shapes are the super-frames that the tests go through.
var shapes = []struct {
	name string
	builder
}{
	{"IPv4 TCP, 64 KB", builder{payload: 65000, size: 1448, flags: 0x18, tcpOpt: 12}},
	{"IPv4 TCP, the last segment whole", builder{payload: 4 * 1460, size: 1460, flags: 0x10}},
	{"IPv4 TCP, last segment of an odd byte", builder{payload: 1460 + 1, size: 1460, flags: 0x11}},
	{"IPv4 TCP, odd segment size", builder{payload: 10000, size: 999, flags: 0x19}},
	{"IPv4 TCP with IP options", builder{payload: 10000, size: 1000, options: 8, flags: 0x18}},
	{"IPv4 TCP, CWR and ECE", builder{payload: 10000, size: 1448, flags: 0xd8, ecn: true}},
	{"IPv4 TCP in one segment", builder{payload: 100, size: 1448, flags: 0x18}},
	{"IPv6 TCP", builder{v6: true, payload: 60000, size: 1428, flags: 0x18, tcpOpt: 12}},
	{"IPv6 TCP behind options", builder{v6: true, ext: 16, payload: 6000, size: 1400, flags: 0x19}},
	{"IPv4 UDP", builder{udp: true, payload: 60000, size: 1400}},
	{"IPv4 UDP, small parts", builder{udp: true, payload: 128 * 9, size: 9}},
	{"IPv6 UDP", builder{v6: true, udp: true, payload: 30001, size: 1232}},
	{"IPv4 TCP in a VLAN", builder{vlans: 1, payload: 20000, size: 1448, flags: 0x18}},
}
