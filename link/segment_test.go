package link

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// segments returns copies of what Segment gives.
func segments(t testing.TB, packet []byte, layer int) [][]byte {
	t.Helper()
	var list [][]byte
	err := Segment(bytes.Clone(packet), layer, func(s []byte) bool {
		list = append(list, bytes.Clone(s))
		return true
	})
	if err != nil {
		t.Fatalf("Segment: %v", err)
	}
	return list
}

func TestSegmentsAreWholeAndInOrder(t *testing.T) {
	for _, layer := range []int{2, 3} {
		for _, tt := range shapes {
			if layer == 3 && tt.vlans > 0 {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				tt.layer = layer
				packet := tt.packet()
				if err := Validate(packet, layer); err != nil {
					t.Fatal(err)
				}
				l, _ := find(packet[HeaderLen:], layer)
				head := int(ParseHeader(packet).HdrLen)
				list := segments(t, packet, layer)
				if want := (tt.payload + tt.size - 1) / tt.size; len(list) != want {
					t.Fatalf("%d segments, want %d", len(list), want)
				}
				var payload []byte
				for i, s := range list {
					if ParseHeader(s) != (Header{}) {
						t.Errorf("segment %d has an offload header %+v", i, ParseHeader(s))
					}
					frame := s[HeaderLen:]
					checkSums(t, frame, layer)
					if !l.lengthIs(frame) {
						t.Errorf("segment %d has a wrong IP length", i)
					}
					if !tt.v6 {
						if id := binary.BigEndian.Uint16(frame[l.l3+4:]); id != uint16(0xfffe+i) {
							t.Errorf("segment %d has id %04x", i, id)
						}
					}
					if !tt.udp {
						first, last := i == 0, i == len(list)-1
						if seq := binary.BigEndian.Uint32(frame[l.l4+4:]); seq != 0xfffff000+uint32(i*tt.size) {
							t.Errorf("segment %d has sequence number %08x", i, seq)
						}
						want := tt.flags
						if !first {
							want &^= tcpCWR
						}
						if !last {
							want &^= tcpFIN | tcpPSH
						}
						if got := frame[l.l4+13]; got != want {
							t.Errorf("segment %d has flags %02x, want %02x", i, got, want)
						}
					}
					payload = append(payload, frame[head:]...)
				}
				if !bytes.Equal(payload, packet[HeaderLen+head:]) {
					t.Error("the payload is not what it was")
				}
			})
		}
	}
}

func TestSegmentStopsWhenTold(t *testing.T) {
	packet := builder{payload: 10000, size: 1000}.packet()
	n := 0
	if err := Segment(packet, 2, func([]byte) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("%d segments, error %v; want 3 and none", n, err)
	}
}

func TestCompleteFillsInChecksums(t *testing.T) {
	for _, tt := range []struct {
		name string
		builder
	}{
		{"TCP", builder{payload: 100}},
		{"TCP without payload", builder{}},
		{"UDP of odd length", builder{udp: true, payload: 33}},
		{"IPv6 UDP", builder{udp: true, v6: true, payload: 1000}},
		{"IPv6 TCP in a VLAN", builder{v6: true, payload: 999, vlans: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packet := tt.packet()
			tt.whole = true
			want := tt.packet()
			if err := Complete(packet); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(packet, want) {
				t.Errorf("got %x\nwant %x", packet, want)
			}
		})
	}
}

func TestSumIsThatOfRFC1071(t *testing.T) {
	b := make([]byte, 300)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	for n := range b {
		if got, want := fold(sum64(b[:n], 0)), naiveSum(b[:n]); got != want {
			t.Fatalf("%d bytes: %04x, want %04x", n, got, want)
		}
	}
	ones := bytes.Repeat([]byte{0xff}, 1<<16)
	if got := fold(sum64(ones, 0xffffffffffffffff)); got != 0xffff {
		t.Errorf("all ones: %04x, want ffff", got)
	}
}

func TestOffloadsDoNotAllocate(t *testing.T) {
	super := builder{payload: 60000, size: 1448}.packet()
	work := bytes.Clone(super)
	count := 0
	out := func([]byte) bool { count++; return true }
	small := builder{payload: 1000}.packet()
	for name, f := range map[string]func(){
		"Validate of a super-frame": func() { _ = Validate(super, 2) },
		"Validate of a bad packet":  func() { _ = Validate(super, 3) },
		"Segment":                   func() { copy(work, super); _ = Segment(work, 2, out) },
		"Complete":                  func() { copy(work, small); _ = Complete(work[:len(small)]) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkValidateSuperFrame(b *testing.B) {
	packet := builder{payload: 65000, size: 1448, tcpOpt: 12}.packet()
	b.ReportAllocs()
	for b.Loop() {
		if err := Validate(packet, 2); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidatePlain(b *testing.B) {
	packet := builder{payload: 22, udp: true, whole: true}.packet()
	b.ReportAllocs()
	for b.Loop() {
		if err := Validate(packet, 2); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSegment64K(b *testing.B) {
	super := builder{payload: 65000, size: 1448, tcpOpt: 12}.packet()
	work := bytes.Clone(super)
	b.SetBytes(int64(len(super)))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, super)
		if err := Segment(work, 2, func([]byte) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
}
