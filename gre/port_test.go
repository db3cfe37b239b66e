package gre

import (
	"bytes"
	"testing"

	"github.com/stack4things/s4t"
)

func TestBothEndsOfAPortsTunnelUnderstandEachOther(t *testing.T) {
	g := &s4t.PortGRE{Local: "100.64.0.1", Remote: "100.64.0.2", Key: 7}
	board, err := BoardEnd(g)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := CloudEnd(g)
	if err != nil {
		t.Fatal(err)
	}
	packet := append(make([]byte, OffloadLen), bytes.Repeat([]byte("frame"), 12)...)
	packet[0] = 1
	for name, ends := range map[string][2]*Tunnel{"to the cloud": {board, cloud}, "to the board": {cloud, board}} {
		send := ends[0].Sender()
		dst := make([]byte, 200)
		for id := range byte(3) {
			n := send.Put(dst, packet)
			if n != Overhead+len(packet) {
				t.Errorf("%s: %d bytes", name, n)
			}
			if got := dst[OffloadLen+5]; got != id+1 {
				t.Errorf("%s: packet %d has id %d", name, id, got)
			}
			if got, err := ends[1].Unwrap(dst[:n]); err != nil || !bytes.Equal(got, packet) {
				t.Errorf("%s: %x, %v; want %x", name, got, err, packet)
			}
		}
		if n := testing.AllocsPerRun(100, func() { send.Put(dst, packet) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestAPortWithoutGoodOuterAddressesHasNoTunnel(t *testing.T) {
	for name, g := range map[string]*s4t.PortGRE{
		"none":        nil,
		"no address":  {Local: "100.64.0.1"},
		"a name":      {Local: "board", Remote: "100.64.0.2"},
		"IPv6":        {Local: "fd00::1", Remote: "fd00::2"},
		"one for two": {Local: "100.64.0.1", Remote: "100.64.0.1"},
	} {
		for _, end := range []func(*s4t.PortGRE) (*Tunnel, error){BoardEnd, CloudEnd} {
			if _, err := end(g); s4t.KindOf(err) != s4t.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
