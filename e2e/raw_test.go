package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/internal/netlab"
)

// TestHelperRaw is no test: other tests run this binary in a namespace to send
// Ethernet frames as they are: "INTERFACE COUNT INTERVAL PLACE HEX". In a frame
// that is sent many times, the 4 bytes at PLACE count.
func TestHelperRaw(t *testing.T) {
	args := strings.Fields(os.Getenv("S4T_E2E_RAW"))
	if len(args) != 5 {
		t.Skip("a helper process of other tests")
	}
	exit(sendRaw(args[0], args[1], args[2], args[3], args[4]))
}

func sendRaw(iface, count, interval, place, text string) error {
	frame, err := hex.DecodeString(text)
	if err != nil {
		return err
	}
	var n, at int
	if _, err := fmt.Sscan(count+" "+place, &n, &at); err != nil {
		return err
	}
	gap, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	dev, err := net.InterfaceByName(iface)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	every := 1
	if gap < time.Millisecond { // shorter than a sleep; a TAP's queue takes 128
		every = 64
	}
	to := &unix.SockaddrLinklayer{Ifindex: dev.Index, Halen: 6}
	for i := range n {
		if n > 1 {
			binary.BigEndian.PutUint32(frame[at:], uint32(i))
		}
		if err := unix.Sendto(fd, frame, 0, to); err != nil && err != unix.ENOBUFS {
			return err
		}
		if i%every == every-1 {
			time.Sleep(gap * time.Duration(every))
		}
	}
	return nil
}

// sendFrames sends a frame from a host, count times; its last 4 bytes count.
func sendFrames(t *testing.T, h *netlab.Host, iface string, frame []byte, count int, gap time.Duration) {
	t.Helper()
	sendCounted(t, h, iface, frame, len(frame)-4, count, gap)
}

// sendCounted does so with the 4 bytes at place.
func sendCounted(t *testing.T, h *netlab.Host, iface string, frame []byte, place, count int, gap time.Duration) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(t.Context(), self, "-test.run", "^TestHelperRaw$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("S4T_E2E_RAW=%s %d %v %d %x", iface, count, gap, place, frame))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("send frames: %v\n%s", err, out)
	}
}

// capture is a tcpdump that writes what an interface receives to a file.
type capture struct{ file string }

func startCapture(t *testing.T, h *netlab.Host, iface, dir string) capture {
	t.Helper()
	c := capture{filepath.Join(dir, h.Name+"-"+iface+".pcap")}
	if _, err := h.Start(h.Name+"-tcpdump-"+iface, nil, "tcpdump", "-i", iface, "-Q", "in", "-s", "512", "--immediate-mode", "-U", "-Z", "root", "-w", c.file); err != nil {
		t.Skip(err)
	}
	within(t, 5*time.Second, "tcpdump runs", func() error {
		if f, err := os.Stat(c.file); err != nil || f.Size() == 0 {
			return fmt.Errorf("no file yet: %v", err)
		}
		return nil
	})
	return c
}

// count returns how often a marker was received, and how many different 4-byte
// numbers came behind it.
func (c capture) count(marker []byte) (total, unique int) {
	b, _ := os.ReadFile(c.file)
	seen := map[string]bool{}
	for {
		i := bytes.Index(b, marker)
		if i < 0 || i+len(marker)+4 > len(b) {
			return total, len(seen)
		}
		b = b[i+len(marker):]
		total++
		seen[string(b[:4])] = true
	}
}

// hostile makes frames; marked ends each with a marker and 4 bytes to count.
type hostile struct {
	mac    net.HardwareAddr
	ip4    netip.Addr
	ip6    netip.Addr
	marker []byte
}

func (h hostile) marked(b []byte) []byte {
	return append(append(bytes.Clone(b), h.marker...), 0, 0, 0, 0)
}

var (
	broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	strangerMAC  = net.HardwareAddr{0x02, 0xde, 0xad, 0xbe, 0xef, 0x01}
	allNodesMAC  = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	allNodes     = netip.MustParseAddr("ff02::1")
)

func ethernet(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	b := append(append(bytes.Clone(dst), src...), byte(kind>>8), byte(kind))
	return append(b, payload...)
}

// arp is a gratuitous request for ip (RFC 826).
func (h hostile) arp(sender netip.Addr) []byte {
	a := sender.As4()
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(append(b, h.mac...), a[:]...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), a[:]...)
	return ethernet(broadcastMAC, h.mac, 0x0806, h.marked(b))
}

// udp4 is a broadcast UDP packet.
func (h hostile) udp4(src netip.Addr, srcPort, dstPort uint16, payload []byte) []byte {
	payload = h.marked(payload)
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	a := src.As4()
	copy(b[12:], a[:])
	copy(b[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(b[10:], ^sum16(b[:20], 0))
	binary.BigEndian.PutUint16(b[20:], srcPort)
	binary.BigEndian.PutUint16(b[22:], dstPort)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload))) // no checksum: RFC 768 allows it
	return ethernet(broadcastMAC, h.mac, 0x0800, append(b, payload...))
}

// icmp6 is an ICMPv6 message to all nodes, hop limit 255.
func (h hostile) icmp6(src netip.Addr, message []byte) []byte {
	message = h.marked(message)
	b := make([]byte, 40, 40+len(message))
	b[0], b[6], b[7] = 0x60, 58, 255
	binary.BigEndian.PutUint16(b[4:], uint16(len(message)))
	from, to := src.As16(), allNodes.As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	sum := uint32(len(message)) + 58
	sum += uint32(sum16(b[8:40], 0))
	binary.BigEndian.PutUint16(message[2:], ^sum16(message, sum))
	return ethernet(allNodesMAC, h.mac, 0x86dd, append(b, message...))
}

// advertisement is a neighbour advertisement for target, and the marker as an
// option of an unknown kind.
func (h hostile) advertisement(target netip.Addr) []byte {
	a := target.As16()
	m := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, a[:]...)
	m = append(append(m, 2, 1), h.mac...)
	return h.icmp6(h.ip6, append(m, 253, 2, 0, 0))
}

// router is a router advertisement without options but the marker's.
func (h hostile) router() []byte {
	ll := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: h.mac[0] ^ 2, 9: h.mac[1], 10: h.mac[2], 11: 0xff, 12: 0xfe, 13: h.mac[3], 14: h.mac[4], 15: h.mac[5]})
	return h.icmp6(ll, []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 253, 2, 0, 0})
}

// sum16 is the Internet checksum without its complement (RFC 1071).
func sum16(b []byte, sum uint32) uint16 {
	for len(b) > 1 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
