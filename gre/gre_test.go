package gre

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func TestParse(t *testing.T) {
	tests := []struct {
		name    string
		packet  []byte
		want    Header
		payload []byte
		err     error
	}{
		{name: "an Ethernet frame with a key", packet: []byte{0x20, 0, 0x65, 0x58, 0, 0, 0, 7, 0xca, 0xfe},
			want: Header{Proto: ProtoTEB, Key: 7, HasKey: true}, payload: []byte{0xca, 0xfe}},
		{name: "IPv4 without a key", packet: []byte{0, 0, 8, 0, 0x45}, want: Header{Proto: ProtoIPv4}, payload: []byte{0x45}},
		{name: "key 0 is a key", packet: []byte{0x20, 0, 0x65, 0x58, 0, 0, 0, 0}, want: Header{Proto: ProtoTEB, HasKey: true}},
		{name: "a sequence number is skipped", packet: []byte{0x30, 0, 0x65, 0x58, 0, 0, 0, 7, 0, 0, 0, 9, 0xca},
			want: Header{Proto: ProtoTEB, Key: 7, HasKey: true}, payload: []byte{0xca}},
		{name: "a right checksum", packet: []byte{0x80, 0, 8, 0, 0x32, 0xff, 0, 0, 0x45, 0},
			want: Header{Proto: ProtoIPv4}, payload: []byte{0x45, 0}},
		{name: "reserved bits 6 to 12 are ignored", packet: []byte{0x02, 0xf8, 8, 0}, want: Header{Proto: ProtoIPv4}},
		{name: "a wrong checksum", packet: []byte{0x80, 0, 8, 0, 0x32, 0xfe, 0, 0, 0x45, 0}, err: ErrChecksum},
		{name: "cut inside the flags", packet: []byte{0x20}, err: ErrShort},
		{name: "cut inside the key", packet: []byte{0x20, 0, 0x65, 0x58, 0}, err: ErrShort},
		{name: "cut inside the sequence number", packet: []byte{0x10, 0, 0x65, 0x58, 0}, err: ErrShort},
		{name: "cut inside the checksum", packet: []byte{0x80, 0, 0x65, 0x58, 0}, err: ErrShort},
		{name: "version 1 is PPTP", packet: []byte{0x20, 0x01, 0x88, 0x0b, 0, 0, 0, 0}, err: ErrUnsupported},
		{name: "routing of RFC 1701", packet: []byte{0x40, 0, 8, 0, 0, 0, 0, 0}, err: ErrUnsupported},
		{name: "strict source route", packet: []byte{0x08, 0, 8, 0}, err: ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, err := Parse(tt.packet)
			if !errors.Is(err, tt.err) {
				t.Fatalf("Parse(%x) error = %v, want %v", tt.packet, err, tt.err)
			}
			if h != tt.want || !bytes.Equal(payload, tt.payload) {
				t.Errorf("Parse(%x) = %+v, %x; want %+v, %x", tt.packet, h, payload, tt.want, tt.payload)
			}
		})
	}
}

// FuzzParse checks that Parse never panics and that what it accepts without a
// checksum, a sequence number or reserved bits, Append reproduces.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0x20, 0, 0x65, 0x58, 0, 0, 0, 7, 0xca, 0xfe})
	f.Add([]byte{0xb0, 0, 0x65, 0x58, 0, 0, 0, 7, 0xca, 0xfe, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, packet []byte) {
		h, payload, err := Parse(packet)
		if err != nil {
			return
		}
		if len(payload) > len(packet)-len(h.Append(nil)) {
			t.Fatalf("%x has a payload of %d bytes", packet, len(payload))
		}
		if packet[0]&^0x20|packet[1] != 0 {
			return
		}
		if got := append(h.Append(nil), payload...); !bytes.Equal(got, packet) {
			t.Errorf("round trip of %x gave %x", packet, got)
		}
	})
}

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

// request is an ARP request.
const request = `ffffffffffff 020000000007 0806
0001 0800 06 04 0001 020000000007 0a4d0002 000000000000 0a4d0003`

// golden is that request in GRE, laid out as a gretap device does (`ip link add
// type gretap local 192.0.2.1 remote 192.0.2.2 key 66`): written by hand from
// the RFCs and net/ipv4/ip_tunnel.c.
func golden(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/arp.golden")
	if err != nil {
		t.Fatal(err)
	}
	return packetOf(t, string(b))
}

func packetOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTunnelIsLaidOutAsAGretap(t *testing.T) {
	frame := packetOf(t, request)
	end, err := NewTunnel(here, there, 0x42)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, Overhead)
	if err := end.Put(got, len(frame), 0x1234); err != nil {
		t.Fatal(err)
	}
	got = append(got, frame...)
	if *update {
		text := fmt.Sprintf("%x\n%x\n%x\n", got[:IPv4Len], got[IPv4Len:Overhead], got[Overhead:])
		if err := os.WriteFile("testdata/arp.golden", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := golden(t)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	byHand := Header{Proto: ProtoTEB, Key: 0x42, HasKey: true}.Append(AppendIPv4(nil, here, there, TTL, 0x1234, KeyHeaderLen+len(frame)))
	if !bytes.Equal(byHand, want[:Overhead]) {
		t.Errorf("AppendIPv4 and Append give %x", byHand)
	}
	other, _ := NewTunnel(there, here, 0x42)
	if back, err := other.Frame(got); err != nil || !bytes.Equal(back, frame) {
		t.Errorf("the other end gets %x, %v", back, err)
	}
}

func TestFrameRefusesWhatIsNotTheTunnels(t *testing.T) {
	end, err := NewTunnel(there, here, 0x42)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(p []byte) []byte
		err    error
	}{
		{"as it is", func(p []byte) []byte { return p }, nil},
		{"with Ethernet padding behind it", func(p []byte) []byte { return append(p, 0, 0, 0) }, nil},
		{"another key", func(p []byte) []byte { p[27]++; return p }, ErrEndpoint},
		{"another payload type", func(p []byte) []byte { p[22], p[23] = 8, 0; return p }, ErrEndpoint},
		{"another source", func(p []byte) []byte { p[15]++; return sumAgain(p) }, ErrEndpoint},
		{"another destination", func(p []byte) []byte { p[19]++; return sumAgain(p) }, ErrEndpoint},
		{"a wrong header checksum", func(p []byte) []byte { p[8]--; return p }, ErrChecksum},
		{"not GRE", func(p []byte) []byte { p[9] = 17; return sumAgain(p) }, ErrNotGRE},
		{"a fragment", func(p []byte) []byte { p[6] = 0x20; return sumAgain(p) }, ErrNotGRE},
		{"IPv6", func(p []byte) []byte { p[0] = 0x65; return p }, ErrNotGRE},
		{"a header of 16 bytes", func(p []byte) []byte { p[0] = 0x44; return p }, ErrNotGRE},
		{"cut short", func(p []byte) []byte { return p[:len(p)-1] }, ErrShort},
		{"cut in the header", func(p []byte) []byte { return p[:19] }, ErrShort},
		{"a frame shorter than its header", func(p []byte) []byte { p[3] = Overhead + 13; return sumAgain(p) }, ErrShort},
		{"nothing", func(p []byte) []byte { return nil }, ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.change(golden(t))
			if _, err := end.Frame(p); !errors.Is(err, tt.err) {
				t.Errorf("Frame = %v, want %v", err, tt.err)
			}
		})
	}
}

func sumAgain(p []byte) []byte {
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	return p
}

func TestTunnelNeedsTwoIPv4Ends(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{here, here}, {here, netip.MustParseAddr("fd00::1")}, {netip.Addr{}, there}} {
		if _, err := NewTunnel(ends[0], ends[1], 1); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("NewTunnel(%v) = %v, want an invalid error", ends, err)
		}
	}
}

func TestAFrameThatDoesNotFitIsToldSo(t *testing.T) {
	end, _ := NewTunnel(here, there, 1)
	room := make([]byte, Overhead)
	if err := end.Put(room, MaxFrame, 0xffff); err != nil || binary.BigEndian.Uint16(room[2:]) != 65535 || checksum(room[:20]) != 0 {
		t.Errorf("the longest frame: %x, %v", room, err)
	}
	if err := end.Put(room, MaxFrame+1, 0); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte more: %v, want ErrTooLong", err)
	}
}

// FuzzFrame checks that no packet makes Frame panic or reach beyond it, and
// that what it accepts is what Put makes, but for id, TTL, TOS and padding.
func FuzzFrame(f *testing.F) {
	f.Add(golden(f))
	f.Add([]byte{0x46, 0, 0, 24})
	end, _ := NewTunnel(there, here, 0x42)
	other, _ := NewTunnel(here, there, 0x42)
	f.Fuzz(func(t *testing.T, packet []byte) {
		frame, err := end.Frame(packet)
		if err != nil {
			return
		}
		made := make([]byte, Overhead, Overhead+len(frame))
		if err := other.Put(made, len(frame), 1); err != nil {
			t.Fatal(err)
		}
		if again, err := end.Frame(append(made, frame...)); err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("%x: %x, %v", packet, again, err)
		}
	})
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	end, _ := NewTunnel(here, there, 0x42)
	other, _ := NewTunnel(there, here, 0x42)
	packet := make([]byte, Overhead+1500)
	buf := make([]byte, 0, Overhead)
	for name, f := range map[string]func(){
		"Put":        func() { _ = end.Put(packet, 1500, 1) },
		"Frame":      func() { _, _ = other.Frame(packet) },
		"AppendIPv4": func() { buf = AppendIPv4(buf[:0], here, there, TTL, 1, 100) },
		"Append":     func() { buf = Header{Proto: ProtoTEB, Key: 7, HasKey: true}.Append(buf[:0]) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkTunnel(b *testing.B) {
	end, _ := NewTunnel(here, there, 0x42)
	other, _ := NewTunnel(there, here, 0x42)
	packet := make([]byte, Overhead+60000)
	b.ReportAllocs()
	for b.Loop() {
		_ = end.Put(packet, 60000, 1)
		if _, err := other.Frame(packet); err != nil {
			b.Fatal(err)
		}
	}
}
