package link

import (
	"bytes"
	"testing"
)

func TestDescribeFindsWhatTheKernelLeftUndone(t *testing.T) {
	for _, layer := range []int{2, 3} {
		for _, tt := range shapes {
			if tt.udp || layer == 3 && tt.vlans > 0 {
				continue // how long the segments of a UDP super-frame are to be nobody can know
			}
			t.Run(tt.name, func(t *testing.T) {
				tt.layer = layer
				packet := tt.packet()
				packet[1] &^= GSOECN // not told by the frame
				if err := Validate(packet, layer); err != nil {
					t.Fatal(err)
				}
				want := bytes.Clone(packet)
				h := ParseHeader(packet)
				l, _ := find(packet[HeaderLen:], layer)
				mtu := int(h.HdrLen) - l.l3 + int(h.GSOSize)
				for i := range HeaderLen {
					packet[i] = 0xff
				}
				Describe(packet, layer, mtu)
				if err := Validate(packet, layer); err != nil {
					t.Fatal(err)
				}
				if len(packet)-HeaderLen-l.l3 > mtu && !bytes.Equal(packet, want) {
					t.Errorf("%x, want %x", packet[:HeaderLen], want[:HeaderLen])
				}
				// Its segments are whole: nothing is to be done with them.
				for _, s := range segments(t, packet, layer) {
					was := bytes.Clone(s)
					if Describe(s, layer, mtu); !bytes.Equal(s, was) && !bytes.Equal(completed(t, s), was) {
						t.Errorf("a whole segment got the header %x", s[:HeaderLen])
					}
				}
			})
		}
	}
}

// completed is a packet after Complete.
func completed(t *testing.T, packet []byte) []byte {
	packet = bytes.Clone(packet)
	if err := Complete(packet); err != nil {
		t.Fatal(err)
	}
	return packet
}

// FuzzDescribe checks that no frame makes Describe panic, and that it changes
// nothing but the header.
func FuzzDescribe(f *testing.F) {
	for _, s := range shapes {
		s.layer = 2
		f.Add(s.packet(), 1500, false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, mtu int, three bool) {
		layer := 2
		if three {
			layer = 3
		}
		was := bytes.Clone(packet)
		Describe(packet, layer, mtu&0xffff)
		if len(packet) > HeaderLen && !bytes.Equal(packet[HeaderLen:], was[HeaderLen:]) {
			t.Fatal("the frame was changed")
		}
		if Validate(packet, layer) == nil {
			_ = Segment(packet, layer, func([]byte) bool { return true })
		}
	})
}
