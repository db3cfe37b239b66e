package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stack4things/s4t"
)

// carrier returns an IPv4 packet of protocol proto with some payload.
func carrier(proto byte, payload int) []byte {
	p := builder{udp: true, payload: payload, whole: true}.packet()
	p[HeaderLen+14+9] = proto
	return p
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		layer  int
		packet func() []byte
		change func(h *Header, frame []byte)
		ok     bool
	}{
		{name: "a plain frame", packet: builder{payload: 10, whole: true}.packet, ok: true},
		{name: "a plain frame that is not IP", packet: func() []byte { return make([]byte, HeaderLen+14) }, ok: true},
		{name: "a plain packet on layer 3", layer: 3, packet: builder{layer: 3, payload: 10, whole: true}.packet, ok: true},
		{name: "a frame too short for Ethernet", packet: func() []byte { return make([]byte, HeaderLen+13) }},
		{name: "a packet that is cut in its offload header", packet: func() []byte { return make([]byte, 5) }},
		{name: "nothing", packet: func() []byte { return nil }},
		{name: "a packet that is too long", packet: func() []byte { return make([]byte, MaxPacket+1) }},
		{name: "a layer-3 packet of version 5", layer: 3, packet: builder{layer: 3, whole: true}.packet,
			change: func(_ *Header, f []byte) { f[0] = 0x55 }},
		{name: "an IPv6 packet shorter than its header", layer: 3, packet: func() []byte { return append(make([]byte, HeaderLen), bytes.Repeat([]byte{0x60}, 39)...) }},

		{name: "a partial TCP checksum", packet: builder{payload: 10}.packet, ok: true},
		{name: "a partial UDP checksum on layer 3", layer: 3, packet: builder{layer: 3, udp: true, payload: 10}.packet, ok: true},
		{name: "a checksum that was verified", packet: builder{payload: 10, whole: true}.packet,
			change: func(h *Header, _ []byte) { h.Flags = FlagDataValid }, ok: true},
		{name: "a partial checksum behind UDP, as of VXLAN", packet: builder{udp: true, payload: 100}.packet,
			change: func(h *Header, f []byte) { h.CSumStart += 8 + 8 + 14 + 20; h.CSumOffset = 16 }, ok: true},
		{name: "a partial checksum inside IPv6 in IPv4", packet: func() []byte { return carrier(protoIPv6, 80) },
			change: func(h *Header, f []byte) { *h = Header{Flags: FlagNeedsChecksum, CSumStart: 34 + 40, CSumOffset: 16} }, ok: true},
		{name: "a partial checksum over the UDP payload itself", packet: builder{udp: true, payload: 100}.packet,
			change: func(h *Header, f []byte) { h.CSumStart += 8 }},
		{name: "a checksum written into the source address", packet: builder{payload: 10}.packet,
			change: func(h *Header, _ []byte) { h.CSumStart, h.CSumOffset = 20, 6 }},
		{name: "a checksum written into TCP's ports", packet: builder{payload: 10}.packet,
			change: func(h *Header, _ []byte) { h.CSumOffset = 0 }},
		{name: "a checksum in an ARP request", packet: func() []byte { return append(make([]byte, HeaderLen+12), append([]byte{8, 6}, make([]byte, 28)...)...) },
			change: func(h *Header, _ []byte) { *h = Header{Flags: FlagNeedsChecksum, CSumStart: 20, CSumOffset: 6} }},
		{name: "a checksum in ICMPv6", packet: builder{v6: true, payload: 20}.packet,
			change: func(h *Header, f []byte) { f[14+6] = 58 }},
		{name: "a checksum in a fragment", packet: builder{payload: 20}.packet,
			change: func(h *Header, f []byte) { f[14+6] = 0x20 }},
		{name: "a checksum outside the frame", packet: builder{}.packet,
			change: func(h *Header, _ []byte) { h.CSumOffset = 20 }},
		{name: "a checksum far outside the frame", packet: builder{}.packet,
			change: func(h *Header, _ []byte) { h.CSumStart, h.CSumOffset = 0xffff, 0xffff }},

		{name: "a flag that nobody sends", packet: builder{whole: true}.packet, change: func(h *Header, _ []byte) { h.Flags = 4 }},
		{name: "a kind that nobody sends", packet: builder{payload: 100, size: 50}.packet, change: func(h *Header, _ []byte) { h.GSOType = 3 }},
		{name: "a TCP super-frame without a partial checksum", packet: builder{payload: 3000, size: 1000}.packet,
			change: func(h *Header, _ []byte) { h.Flags = 0 }, ok: true},
		{name: "a UDP super-frame without a partial checksum", packet: builder{udp: true, payload: 3000, size: 1000}.packet,
			change: func(h *Header, _ []byte) { h.Flags = 0 }},
		{name: "segments of 0 bytes", packet: builder{payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOSize = 0 }},
		{name: "segments of 1 byte", packet: builder{payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOSize = 1 }},
		{name: "GSO_BY_FRAGS", packet: builder{payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOSize = 0xffff }},
		{name: "more UDP parts than the kernel makes", packet: builder{udp: true, payload: 129, size: 1}.packet},
		{name: "TCPv4 on IPv6", packet: builder{v6: true, payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOType = GSOTCPv4 }},
		{name: "TCPv6 on IPv4", packet: builder{payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOType = GSOTCPv6 }},
		{name: "TCP on UDP", packet: builder{udp: true, payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOType = GSOTCPv4 }},
		{name: "UDP with ECN", packet: builder{udp: true, payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.GSOType |= GSOECN }},
		{name: "a TCP header longer than the frame", packet: builder{size: 1000}.packet, change: func(_ *Header, f []byte) { f[34+12] = 0xf0 }},
		{name: "a TCP header shorter than TCP's", packet: builder{payload: 3000, size: 1000}.packet, change: func(_ *Header, f []byte) { f[34+12] = 0x40 }},
		{name: "an IP length that is not the frame's", packet: builder{payload: 3000, size: 1000}.packet,
			change: func(_ *Header, f []byte) { binary.BigEndian.PutUint16(f[16:], 1500) }},
		{name: "a UDP length that is not the frame's", packet: builder{udp: true, payload: 3000, size: 1000}.packet,
			change: func(_ *Header, f []byte) { f[34+5]++ }},
		{name: "a wrong hint", packet: builder{payload: 3000, size: 1000}.packet, change: func(h *Header, _ []byte) { h.HdrLen = 3 }, ok: true},
		{name: "a super-frame that is a fragment", packet: builder{payload: 3000, size: 1000}.packet, change: func(_ *Header, f []byte) { f[14+6] = 0x20 }},
		{name: "a layer-2 super-frame on layer 3", layer: 3, packet: builder{payload: 3000, size: 1000}.packet},
	}
	for _, tt := range shapes {
		tests = append(tests, struct {
			name   string
			layer  int
			packet func() []byte
			change func(h *Header, frame []byte)
			ok     bool
		}{name: tt.name, packet: tt.packet, ok: true})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packet := tt.packet()
			if tt.change != nil {
				h := ParseHeader(packet)
				tt.change(&h, packet[HeaderLen:])
				h.Put(packet)
			}
			err := Validate(packet, max(tt.layer, 2))
			if (err == nil) != tt.ok {
				t.Fatalf("Validate = %v, want ok %v", err, tt.ok)
			}
			if err != nil {
				if s4t.KindOf(err) != s4t.Invalid {
					t.Errorf("kind %s, want invalid", s4t.KindOf(err))
				}
				return
			}
			if err := Validate(packet, max(tt.layer, 2)); err != nil {
				t.Errorf("what passed once does not pass again: %v", err)
			}
		})
	}
}

func TestValidateWritesTheTrueHeaderLength(t *testing.T) {
	packet := builder{payload: 3000, size: 1000, tcpOpt: 12}.packet()
	want := ParseHeader(packet)
	h := want
	h.HdrLen, h.Flags = 20, FlagNeedsChecksum|FlagDataValid
	h.Put(packet)
	if err := Validate(packet, 2); err != nil {
		t.Fatal(err)
	}
	if got := ParseHeader(packet); got != want {
		t.Errorf("header %+v, want %+v", got, want)
	}
}

func TestValidateMakesAWholeChecksumPartial(t *testing.T) {
	want := builder{payload: 3000, size: 1000}.packet()
	packet := bytes.Clone(want)
	h := ParseHeader(packet)
	h.Flags, h.CSumStart, h.CSumOffset = FlagDataValid, 0, 0
	h.Put(packet)
	binary.BigEndian.PutUint16(packet[HeaderLen+34+16:], 0x1234)
	if err := Validate(packet, 2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packet, want) {
		t.Errorf("got %x\nwant %x", packet[:80], want[:80])
	}
}

// FuzzValidate checks that what passes can be segmented into whole frames
// within bounds, and passes again unchanged.
func FuzzValidate(f *testing.F) {
	for _, layer := range []int{2, 3} {
		for _, tt := range shapes {
			tt.layer, tt.payload = layer, min(tt.payload, 3000)
			f.Add(tt.packet(), layer == 3)
		}
		f.Add(builder{layer: layer, payload: 10}.packet(), layer == 3)
		f.Add(builder{layer: layer, v6: true, udp: true, payload: 10, whole: true}.packet(), layer == 3)
	}
	f.Fuzz(func(t *testing.T, packet []byte, tun bool) {
		layer := 2
		if tun {
			layer = 3
		}
		if Validate(packet, layer) != nil {
			return
		}
		again := bytes.Clone(packet)
		if err := Validate(again, layer); err != nil || !bytes.Equal(again, packet) {
			t.Fatalf("%x passes, then gives %x, %v", packet, again, err)
		}
		h := ParseHeader(packet)
		total := 0
		for i, s := range segments(t, packet, layer) {
			frame := s[HeaderLen:]
			if h.GSOType == GSONone {
				total = int(h.HdrLen) + len(frame)
				break
			}
			total += len(frame) - int(h.HdrLen)
			if len(frame) > int(h.HdrLen)+int(h.GSOSize) {
				t.Fatalf("segment %d of %x has %d bytes", i, packet, len(frame))
			}
		}
		if total+int(h.HdrLen) != len(packet)-HeaderLen {
			t.Fatalf("segments of %x hold %d bytes of payload", packet, total)
		}
	})
}
