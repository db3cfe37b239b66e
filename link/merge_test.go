package link

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// merged returns what a device would be given for packets, and how many there
// are.
func merged(packets [][]byte, layer int) (out [][]byte) {
	var m merger
	flush := func() {
		if p := m.packet(); p != nil {
			out = append(out, bytes.Clone(p))
		}
	}
	for _, p := range packets {
		if m.take(p, layer) {
			continue
		}
		flush()
		if !m.take(p, layer) {
			out = append(out, bytes.Clone(p))
		}
	}
	flush()
	return out
}

// apart returns packets as the frames that they stand for. IPv4
// identifications, and with them header checksums, are left out where they say
// nothing.
func apart(t testing.TB, packets [][]byte, layer int) (frames [][]byte) {
	for _, p := range packets {
		for _, f := range segments(t, p, layer) {
			if l, ok := find(f[HeaderLen:], layer); ok && l.version == 4 && f[HeaderLen+l.l3+6]&0x40 != 0 {
				clear(f[HeaderLen+l.l3+4:][:2])
				clear(f[HeaderLen+l.l3+10:][:2])
			}
			frames = append(frames, f)
		}
	}
	return frames
}

// datagrams are n of one flow with size bytes of payload each, the last with
// fewer.
func datagrams(b builder, n, size int) (list [][]byte) {
	b.udp = true
	for i := range n {
		b.payload = size
		if i == n-1 {
			b.payload = max(1, size/2)
		}
		list = append(list, b.packet())
	}
	return list
}

func TestMergedDatagramsComeApartAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		b     builder
		n     int
		size  int
		want  int // packets
		layer int
	}{
		{"one alone stays as it is", builder{}, 1, 64, 1, 2},
		{"two", builder{}, 2, 64, 1, 2},
		{"64 small ones", builder{}, 64, 64, 1, 2},
		{"more than a super-frame may have", builder{}, 200, 64, 4, 2},
		{"large ones", builder{}, 20, 1472, 2, 2},
		{"of one byte", builder{}, 9, 1, 1, 2},
		{"IPv6", builder{v6: true}, 10, 100, 1, 2},
		{"in a VLAN", builder{vlans: 1}, 10, 100, 1, 2},
		{"layer 3", builder{}, 10, 100, 1, 3},
		{"layer 3, IPv6", builder{v6: true}, 10, 99, 1, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.b.layer = tt.layer
			in := datagrams(tt.b, tt.n, tt.size)
			out := merged(in, tt.layer)
			if len(out) != tt.want {
				t.Errorf("%d datagrams are %d packets, want %d", tt.n, len(out), tt.want)
			}
			for _, p := range out {
				q := bytes.Clone(p)
				if err := Validate(q, tt.layer); err != nil || !bytes.Equal(p, q) {
					t.Fatalf("a merged packet does not pass as it is: %v", err)
				}
			}
			got, want := apart(t, out, tt.layer), apart(t, in, tt.layer)
			if len(got) != len(want) {
				t.Fatalf("%d frames, want %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("frame %d is\n%x, want\n%x", i, got[i], want[i])
				}
			}
		})
	}
}

func TestWhatIsNotMerged(t *testing.T) {
	udp := builder{udp: true, payload: 100}
	const l3, l4 = HeaderLen + 14, HeaderLen + 34
	sameSum := func(p []byte) { // of the IPv4 header, and the pseudo header's
		clear(p[l3+10:][:2])
		binary.BigEndian.PutUint16(p[l3+10:], ^naiveSum(p[l3:l4]))
		l, _ := find(p[HeaderLen:], 2)
		binary.BigEndian.PutUint16(p[l4+6:], l.pseudo(p[HeaderLen:], len(p)-l4))
	}
	for _, tt := range []struct {
		name   string
		b      builder
		change func(p []byte)
	}{
		{"another source port", udp, func(p []byte) { p[l4]++ }},
		{"another destination port", udp, func(p []byte) { p[l4+3]++ }},
		{"another source", udp, func(p []byte) { p[l3+15]++; sameSum(p) }},
		{"another TTL", udp, func(p []byte) { p[l3+8]--; sameSum(p) }},
		{"another class of traffic", udp, func(p []byte) { p[l3+1] = 0xb8; sameSum(p) }},
		{"another MAC", udp, func(p []byte) { p[HeaderLen+5]++ }},
		{"an identification that repeats, without DF", udp, func(p []byte) { p[l3+6] = 0; sameSum(p) }},
		{"a wrong header checksum", udp, func(p []byte) { p[l3+10]++ }},
		{"a wrong partial checksum", udp, func(p []byte) { p[l4+6]++ }},
		{"a fragment", udp, func(p []byte) { p[l3+6] |= 0x20; sameSum(p) }},
		{"IPv4 options", builder{udp: true, payload: 100, options: 4}, nil},
		{"a longer one", builder{udp: true, payload: 101}, nil},
		{"one without payload", builder{udp: true}, nil},
		{"a checksum that is there", builder{udp: true, payload: 100, whole: true}, nil},
		{"a super-frame", builder{udp: true, payload: 100, size: 50}, nil},
		{"TCP", builder{payload: 100}, nil},
		{"another IP", builder{udp: true, payload: 100, v6: true}, nil},
		{"padding", udp, func(p []byte) { p[l4+5]-- }},
	} {
		second := tt.b.packet()
		if tt.change != nil {
			tt.change(second)
		}
		if out := merged([][]byte{udp.packet(), second}, 2); len(out) != 2 || !bytes.Equal(out[1], second) {
			t.Errorf("%s: %d packets", tt.name, len(out))
		}
	}
	short := builder{udp: true, payload: 50}
	if out := merged([][]byte{udp.packet(), short.packet(), short.packet()}, 2); len(out) != 2 {
		t.Errorf("after a shorter one more came into the same packet: %d packets", len(out))
	}
}

func TestIdentificationsThatCountUpAreMerged(t *testing.T) {
	var in [][]byte
	for i := range 5 {
		p := builder{udp: true, payload: 20}.packet()
		ip := p[HeaderLen+14:]
		ip[6] = 0
		binary.BigEndian.PutUint16(ip[4:], uint16(0xfffe+i))
		clear(ip[10:12])
		binary.BigEndian.PutUint16(ip[10:], ^naiveSum(ip[:20]))
		in = append(in, p)
	}
	out := merged(in, 2)
	got, want := apart(t, out, 2), apart(t, in, 2)
	if len(out) != 1 || len(got) != len(want) {
		t.Fatalf("%d packets, %d frames", len(out), len(got))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("frame %d is\n%x, want\n%x", i, got[i], want[i])
		}
	}
}

func TestMergingDoesNotAllocate(t *testing.T) {
	var m merger
	p := builder{udp: true, payload: 64}.packet()
	m.take(p, 2)
	m.packet()
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			m.take(p, 2)
		}
		if m.packet() == nil {
			t.Fatal("nothing")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMerge: whatever passes Validate comes out of the merger as it came in.
func FuzzMerge(f *testing.F) {
	join := func(list ...[]byte) (all []byte) {
		for _, p := range list {
			all = append(binary.BigEndian.AppendUint16(all, uint16(len(p))), p...)
		}
		return all
	}
	for _, layer := range []int{2, 3} {
		f.Add(layer == 3, join(datagrams(builder{layer: layer}, 4, 30)...))
		f.Add(layer == 3, join(datagrams(builder{layer: layer, v6: true}, 3, 3)...))
	}
	f.Fuzz(func(t *testing.T, three bool, data []byte) {
		layer := 2
		if three {
			layer = 3
		}
		var in [][]byte
		for len(data) > 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			p := bytes.Clone(data[2 : 2+n])
			data = data[2+n:]
			if Validate(p, layer) == nil {
				in = append(in, p)
			}
		}
		out := merged(in, layer)
		for _, p := range out {
			if err := Validate(bytes.Clone(p), layer); err != nil {
				t.Fatalf("a packet passes no more: %v", err)
			}
		}
		got, want := apart(t, out, layer), apart(t, in, layer)
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d is\n%x, want\n%x", i, got[i], want[i])
			}
		}
	})
}
