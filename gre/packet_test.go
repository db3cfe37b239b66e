package gre

import (
	"bytes"
	"errors"
	"testing"
)

func TestThePacketOfAnRtunnelIsWrappedInPlace(t *testing.T) {
	end, _ := NewTunnel(here, there, 7)
	other, _ := NewTunnel(there, here, 7)
	inner := append([]byte{1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0}, bytes.Repeat([]byte("frame"), 12)...)
	packet := append(make([]byte, Overhead), inner...)
	if err := end.Wrap(packet, 9); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packet[:OffloadLen], inner[:OffloadLen]) || !bytes.Equal(packet[Overhead+OffloadLen:], inner[OffloadLen:]) {
		t.Errorf("wrapped %x", packet)
	}
	got, err := other.Unwrap(packet)
	if err != nil || !bytes.Equal(got, inner) {
		t.Errorf("unwrapped %x, %v; want %x", got, err, inner)
	}
	if _, err := end.Unwrap(append(make([]byte, Overhead), inner...)); err == nil {
		t.Error("what is not wrapped was taken")
	}
	for _, short := range [][]byte{nil, make([]byte, OffloadLen-1), make([]byte, OffloadLen+Overhead-1)} {
		if _, err := other.Unwrap(short); !errors.Is(err, ErrShort) && !errors.Is(err, ErrNotGRE) {
			t.Errorf("%d bytes: %v", len(short), err)
		}
		if err := end.Wrap(short, 0); !errors.Is(err, ErrShort) {
			t.Errorf("wrap %d bytes: %v", len(short), err)
		}
	}
}

func TestWrappingDoesNotAllocate(t *testing.T) {
	end, _ := NewTunnel(here, there, 7)
	other, _ := NewTunnel(there, here, 7)
	packet := make([]byte, Overhead+OffloadLen+60000)
	if n := testing.AllocsPerRun(100, func() {
		_ = end.Wrap(packet, 1)
		if _, err := other.Unwrap(packet); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUnwrap checks that no packet makes Unwrap panic or reach beyond it, and
// that what it takes is taken again after Wrap.
func FuzzUnwrap(f *testing.F) {
	f.Add(append(make([]byte, OffloadLen), golden(f)...))
	end, _ := NewTunnel(there, here, 0x42)
	other, _ := NewTunnel(here, there, 0x42)
	f.Fuzz(func(t *testing.T, packet []byte) {
		inner, err := end.Unwrap(packet)
		if err != nil {
			return
		}
		inner = bytes.Clone(inner)
		again := append(make([]byte, Overhead), inner...)
		if err := other.Wrap(again, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := end.Unwrap(again); err != nil || !bytes.Equal(got, inner) {
			t.Fatalf("%x: %x, %v", packet, got, err)
		}
	})
}
