package rtunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stack4things/s4t"
)

func TestParseHeader(t *testing.T) {
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x82, 127}, n) }
	tests := []struct {
		name string
		in   []byte
		want header
		err  s4t.Kind // "" none; "short"
	}{
		{name: "a short binary message", in: []byte{0x82, 5, 'h'}, want: header{fin: true, op: OpBinary, size: 2, payload: 5}},
		{name: "a masked text message", in: []byte{0x81, 0x83, 1, 2, 3, 4}, want: header{fin: true, op: OpText, masked: true, key: [4]byte{1, 2, 3, 4}, size: 6, payload: 3}},
		{name: "16 bits of length", in: []byte{0x82, 126, 0, 126}, want: header{fin: true, op: OpBinary, size: 4, payload: 126}},
		{name: "64 bits of length", in: long(65536), want: header{fin: true, op: OpBinary, size: 10, payload: 65536}},
		{name: "a first fragment", in: []byte{0x02, 1}, want: header{op: OpBinary, size: 2, payload: 1}},
		{name: "nothing yet", in: nil, err: "short"},
		{name: "half a length", in: []byte{0x82, 126, 0}, err: "short"},
		{name: "half a key", in: []byte{0x82, 0x81, 1, 2, 3}, err: "short"},
		{name: "a length that could be shorter, 16 bits", in: []byte{0x82, 126, 0, 125}, err: s4t.Invalid},
		{name: "a length that could be shorter, 64 bits", in: long(65535), err: s4t.Invalid},
		{name: "a length over the limit", in: long(1<<20 + 1), err: s4t.TooMany},
		{name: "a length with the highest bit", in: long(1 << 63), err: s4t.TooMany},
		{name: "a reserved bit", in: []byte{0xc2, 0}, err: s4t.Invalid},
		{name: "a reserved opcode", in: []byte{0x83, 0}, err: s4t.Invalid},
		{name: "a ping in fragments", in: []byte{0x09, 0}, err: s4t.Invalid},
		{name: "a long ping", in: []byte{0x89, 126, 0, 126}, err: s4t.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := parseHeader(tt.in, s4t.MaxMessage)
			switch {
			case tt.err == "short":
				if err != errShort {
					t.Fatalf("error %v, want errShort", err)
				}
			case s4t.KindOf(err) != tt.err:
				t.Fatalf("error %v, want kind %q", err, tt.err)
			case err == nil && h != tt.want:
				t.Errorf("got %+v, want %+v", h, tt.want)
			}
		})
	}
}

// FuzzParseHeader checks that what is accepted is what putHeader writes.
func FuzzParseHeader(f *testing.F) {
	for _, seed := range [][]byte{{0x82, 5}, {0x82, 126, 1, 0}, {0x82, 0xfe, 1, 0, 1, 2, 3, 4}, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, {0x89, 0x80, 0, 0, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := parseHeader(in, s4t.MaxMessage)
		if err != nil {
			return
		}
		if h.payload < 0 || h.payload > s4t.MaxMessage || h.size > len(in) {
			t.Fatalf("%x gave %+v", in, h)
		}
		var b [maxMaskedHeader]byte
		mask := byte(0)
		if h.masked {
			mask = 0x80
		}
		n := putHeader(b[:], h.op, h.payload, mask)
		if h.masked {
			n += copy(b[n:], h.key[:])
		}
		if !h.fin {
			b[0] &^= 0x80
		}
		if !bytes.Equal(b[:n], in[:h.size]) {
			t.Errorf("%x was read as %+v, which is written %x", in[:h.size], h, b[:n])
		}
	})
}

func TestMask(t *testing.T) {
	key := [4]byte{0xde, 0xad, 0xbe, 0xef}
	for _, n := range []int{0, 1, 3, 4, 7, 8, 9, 31, 255, 256, 257, 1023, 1024, 1025, 2049, 65573} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7)
		}
		want := bytes.Clone(p)
		for i := range want { // RFC 6455, section 5.3, to the letter
			want[i] ^= key[i%4]
		}
		if mask(p, key); !bytes.Equal(p, want) {
			t.Errorf("%d bytes are masked wrong", n)
		}
	}
}

func TestKeysAreNotRepeated(t *testing.T) {
	seen := map[[4]byte]bool{}
	a, b := newKeys(), newKeys()
	for range 500 {
		seen[a.next()], seen[b.next()] = true, true
	}
	if len(seen) < 998 { // two of a thousand may meet
		t.Errorf("only %d different keys of 1000", len(seen))
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	p := make([]byte, 65000)
	key := [4]byte{1, 2, 3, 4}
	head := []byte{0x82, 0xfe, 1, 0, 1, 2, 3, 4}
	if n := testing.AllocsPerRun(100, func() {
		mask(p, key)
		if _, err := parseHeader(head, 1<<20); err != nil && !errors.Is(err, errShort) {
			t.Fatal(err)
		}
		PutHeader(p, 1000)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkMask(b *testing.B) {
	for _, n := range []int{64, 1500, 65000} {
		b.Run(size(n), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				mask(p, [4]byte{1, 2, 3, 4})
			}
		})
	}
}

func size(n int) string {
	switch n {
	case 64:
		return "64B"
	case 1500:
		return "1500B"
	}
	return "64KB"
}
