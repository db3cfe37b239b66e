package gre

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestKernelGretap holds the codec to what a kernel sent: the packets in
// testdata/gretap-*.golden were captured from a gretap of Linux 6.1
// (`ip link add gt0 type gretap local 203.0.113.50 remote 203.0.113.10 key K`)
// by the test of a virtual machine in e2e, on the wire, with their checksums.
func TestKernelGretap(t *testing.T) {
	files, err := filepath.Glob("testdata/gretap-*.golden")
	if err != nil || len(files) < 4 {
		t.Fatalf("goldens %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			packet := packetOf(t, string(text))
			src, dst, payload, err := ParseIPv4(packet)
			if err != nil {
				t.Fatal(err)
			}
			h, frame, err := Parse(payload)
			if err != nil || h.Proto != ProtoTEB || !h.HasKey || h.Key == 0 {
				t.Fatalf("%+v, %v", h, err)
			}

			// The other end takes it.
			other, err := NewTunnel(dst, src, h.Key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := other.Frame(packet); err != nil || !bytes.Equal(got, frame) {
				t.Errorf("Frame = %x, %v", got, err)
			}

			// We make the same of the frame, but for what the kernel takes from
			// the inner packet or its own counters: TOS, id, DF and TTL, and the
			// checksum over them.
			same, err := NewTunnel(src, dst, h.Key)
			if err != nil {
				t.Fatal(err)
			}
			made := make([]byte, Overhead)
			if err := same.Put(made, len(frame), 0); err != nil {
				t.Fatal(err)
			}
			made = append(made, frame...)
			for _, field := range []struct{ from, to int }{{1, 2}, {4, 8}, {8, 9}, {10, 12}} {
				copy(made[field.from:field.to], packet[field.from:field.to])
			}
			if !bytes.Equal(made, packet) {
				t.Errorf("made   %x\nkernel %x", made[:Overhead], packet[:Overhead])
			}
		})
	}
}

// TestFrameTakesWhatOtherKernelsMaySend: a gretap may be told to send sequence
// numbers (`seq`) and checksums (`csum`), which are options of RFC 2890.
func TestFrameTakesWhatOtherKernelsMaySend(t *testing.T) {
	frame := packetOf(t, request)
	end, _ := NewTunnel(there, here, 0x42)
	body := append([]byte{0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 0x42, 0, 0, 0, 9}, frame...)
	sum := checksum(body)
	body[4], body[5] = byte(sum>>8), byte(sum)
	packet := append(AppendIPv4(nil, here, there, 1, 7, len(body)), body...)
	if got, err := end.Frame(packet); err != nil || !bytes.Equal(got, frame) {
		t.Errorf("with checksum and sequence number: %x, %v", got, err)
	}
	unwrapped, err := end.Unwrap(append(make([]byte, OffloadLen), packet...))
	if err != nil || !bytes.Equal(unwrapped[OffloadLen:], frame) {
		t.Errorf("unwrapped: %x, %v", unwrapped, err)
	}
}
