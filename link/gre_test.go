//go:build linux

package link

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

// loop gives the namespace's loopback two addresses that are not loopback's.
func loop(t *testing.T) (a, b netip.Addr) {
	t.Helper()
	a, b = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if err := Apply([]vnet.Op{
		vnet.MTU{Name: "lo", MTU: 1500},
		vnet.Addresses{Name: "lo", Prefixes: []netip.Prefix{netip.PrefixFrom(a, 32), netip.PrefixFrom(b, 32)}},
		vnet.Up{Name: "lo"},
	}); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestGRESocketsExchangePackets(t *testing.T) {
	inNamespace(t)
	a, b := loop(t)
	one, err := OpenGRE(a, b)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := OpenGRE(b, a)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	buf := make([]byte, 65535)
	for _, size := range []int{60, 1480, 9000, 65000} { // from one packet to many fragments
		sent := append([]byte{0x20, 0, 0x65, 0x58, 0, 0, 0, 7}, bytes.Repeat([]byte{byte(size)}, size)...)
		if err := one.Write(sent); err != nil {
			t.Fatal(err)
		}
		var got []byte
		if _, err := two.ReadPackets(func() []byte { return buf }, func(n int) { got = append(got, buf[:n]...) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 20+len(sent) || !bytes.Equal(got[20:], sent) {
			t.Errorf("%d bytes became %d", len(sent), len(got))
		}
	}
	if one.Local() != a {
		t.Errorf("local address %v", one.Local())
	}
	packet := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { _ = one.Write(packet) }); n != 0 {
		t.Errorf("Write allocates %v times", n)
	}
	one.Close()
	if _, err := one.ReadPackets(func() []byte { return buf }, func(int) {}); err != io.EOF {
		t.Errorf("read after Close: %v", err)
	}
	if err := one.Write([]byte{0}); err != io.ErrClosedPipe {
		t.Errorf("write after Close: %v", err)
	}
}

func TestGRESocketsThatCannotBeOpened(t *testing.T) {
	inNamespace(t)
	a, b := loop(t)
	for _, tt := range []struct {
		name          string
		local, remote netip.Addr
		kind          s4t.Kind
	}{
		{"an address of another machine", netip.MustParseAddr("192.0.2.9"), b, s4t.Invalid},
		{"IPv6", netip.Addr{}, netip.MustParseAddr("fd00::1"), s4t.Invalid},
		{"no route", netip.Addr{}, netip.MustParseAddr("198.51.100.1"), s4t.Unavailable},
	} {
		s, err := OpenGRE(tt.local, tt.remote) // no t.Run: it would leave the namespace
		if s4t.KindOf(err) != tt.kind {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.kind)
		}
		if err == nil {
			s.Close()
		}
	}
	s, err := OpenGRE(netip.Addr{}, b)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := greError("x", a, unix.EPERM); s4t.KindOf(err) != s4t.Forbidden {
		t.Error(err)
	}
}
