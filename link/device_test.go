//go:build linux

package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vnet"
)

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		kind s4t.Kind
	}{
		{"no name", Config{Layer: 2}, s4t.Invalid},
		{"a name of 16 bytes", Config{Name: "s4t-0123456789ab", Layer: 2}, s4t.Invalid},
		{"a pattern for a name", Config{Name: "s4t-%d", Layer: 2}, s4t.Invalid},
		{"layer 4", Config{Name: "s4t-x", Layer: 4}, s4t.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d, err := Open(tt.cfg); s4t.KindOf(err) != tt.kind {
				t.Errorf("Open = %v, %v; want an error of kind %s", d, err, tt.kind)
			}
		})
	}
}

func TestOpenTwiceIsAConflict(t *testing.T) {
	inNamespace(t)
	open(t, Config{Name: "s4t-a", Layer: 2})
	d, err := Open(Config{Name: "s4t-a", Layer: 2})
	if s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("second Open = %v, %v; want a conflict", d, err)
	}
}

func TestDeviceExistsWhileItIsOpen(t *testing.T) {
	inNamespace(t)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	d, err := Open(Config{Name: "s4t-a", Layer: 2, MAC: mac})
	if err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName("s4t-a")
	if err != nil || !bytes.Equal(l.Attrs().HardwareAddr, mac) {
		t.Errorf("the kernel has %v, %v; want MAC address %v", l, err, mac)
	}
	if err := d.Write(make([]byte, HeaderLen+60)); !errors.Is(err, ErrDown) {
		t.Errorf("Write before it is up = %v, want ErrDown", err)
	}
	ended := make(chan error)
	go func() {
		buf := make([]byte, MaxPacket)
		_, err := d.ReadFrames(func() []byte { return buf }, func(int) {})
		ended <- err
	}()
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != io.EOF {
		t.Errorf("ReadFrames after Close = %v, want io.EOF", err)
	}
	if err := d.Write(make([]byte, HeaderLen+60)); err != io.ErrClosedPipe {
		t.Errorf("Write after Close = %v, want io.ErrClosedPipe", err)
	}
	if _, err := netlink.LinkByName("s4t-a"); err == nil {
		t.Error("the device is still there")
	}
}

func TestProbeTellsTheTruth(t *testing.T) {
	inNamespace(t)
	c := Probe()
	if !c.Networks || c.Reason != "" || !c.Offloads.Header {
		t.Errorf("as root: %+v", c)
	}
	links, err := netlink.LinkList()
	if err != nil || len(links) != 1 {
		t.Errorf("Probe left %d links behind (%v), want lo only", len(links)-1, err)
	}
}

// TestProbeNamesTheCapability gives CAP_NET_ADMIN up, of a thread that ends
// with the test.
func TestProbeNamesTheCapability(t *testing.T) {
	inNamespace(t)
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		t.Fatal(err)
	}
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&head, &caps[0]); err != nil {
		t.Fatal(err)
	}
	if c := Probe(); c.Networks || !strings.Contains(c.Reason, "CAP_NET_ADMIN") {
		t.Errorf("without CAP_NET_ADMIN: %+v", c)
	}
}

func TestOpenErrorsNameWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		err  error
		kind s4t.Kind
		want string
	}{
		{os.ErrPermission, s4t.Internal, ""},
		{unix.EPERM, s4t.Forbidden, "CAP_NET_ADMIN"},
		{unix.EACCES, s4t.Forbidden, "run as root"},
		{unix.ENOENT, s4t.Unavailable, "kernel module `tun`"},
		{unix.EBUSY, s4t.Conflict, "exists"},
	} {
		err := openError("create device s4t-a", tt.err)
		if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v gives %q, want kind %s and %q in it", tt.err, err, tt.kind, tt.want)
		}
	}
}

// join puts devices into a kernel bridge.
func join(t testing.TB, names ...string) {
	t.Helper()
	ops := []vnet.Op{
		vnet.Bridge{Name: "br"},
		vnet.Sysctl{Path: "net/ipv6/conf/br/disable_ipv6", Value: "1"},
	}
	for _, n := range names {
		ops = append(ops, vnet.Master{Name: n, Bridge: "br"})
	}
	if err := Apply(append(ops, vnet.Up{Name: "br"})); err != nil {
		t.Fatal(err)
	}
}

// read returns copies of n packets from d.
func read(t *testing.T, d *Device, n int) [][]byte {
	t.Helper()
	var list [][]byte
	buf := make([]byte, MaxPacket)
	for len(list) < n {
		_, err := d.ReadFrames(func() []byte {
			if len(list) == n {
				return nil
			}
			return buf
		}, func(m int) { list = append(list, bytes.Clone(buf[:m])) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestSegmentsAreTheKernels writes super-frames to a device with offloads that
// is bridged to one without, where the kernel must segment, and compares byte
// for byte. The same super-frames then go the other way, written to the device
// without offloads.
func TestSegmentsAreTheKernels(t *testing.T) {
	inNamespace(t)
	full := open(t, Config{Name: "s4t-full", Layer: 2})
	plain := open(t, Config{Name: "s4t-plain", Layer: 2, Plain: true})
	if !full.Offloads().TSO || plain.Offloads().Header {
		t.Skipf("this kernel offers %v", full.Offloads())
	}
	join(t, "s4t-full", "s4t-plain")
	for _, tt := range shapes {
		if tt.udp && !full.Offloads().USO {
			continue
		}
		packet := tt.packet()
		if err := Validate(packet, 2); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		want := segments(t, packet, 2)
		// The kernel reports a super-frame of one segment as an ordinary frame;
		// both come out the same.
		if err := errors.Join(full.Write(packet), full.Flush()); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for i, got := range read(t, plain, len(want)) {
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("%s: segment %d of %d differs\nkernel %x\nours   %x", tt.name, i, len(want), got[:min(len(got), 120)], want[i][:min(len(want[i]), 120)])
			}
		}
		if err := plain.Write(bytes.Clone(packet)); err != nil {
			t.Fatalf("%s: written to the plain device: %v", tt.name, err)
		}
		for i, got := range read(t, full, len(want)) {
			got[0] &^= FlagDataValid
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("%s: segment %d written to the plain device differs\ngot  %x\nwant %x", tt.name, i, got[:min(len(got), 120)], want[i][:min(len(want[i]), 120)])
			}
		}
	}
}

// TestMergedDatagramsAreTheKernels writes datagrams one by one to a device with
// offloads that is bridged to one without, where the kernel must cut what was
// merged.
func TestMergedDatagramsAreTheKernels(t *testing.T) {
	inNamespace(t)
	full := open(t, Config{Name: "s4t-full", Layer: 2})
	plain := open(t, Config{Name: "s4t-plain", Layer: 2, Plain: true})
	if !full.Offloads().USO {
		t.Skipf("this kernel offers %v", full.Offloads())
	}
	join(t, "s4t-full", "s4t-plain")
	for _, b := range []builder{{}, {v6: true}} {
		in := datagrams(b, 40, 64)
		for _, p := range in {
			if err := Validate(p, 2); err != nil {
				t.Fatal(err)
			}
			if err := full.Write(bytes.Clone(p)); err != nil {
				t.Fatal(err)
			}
		}
		if err := full.Flush(); err != nil {
			t.Fatal(err)
		}
		want := apart(t, in, 2)
		for i, got := range apart(t, read(t, plain, len(want)), 2) {
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("frame %d is\n%x, want\n%x", i, got, want[i])
			}
		}
	}
}

// TestSuperFramesPassWhole: between two devices with offloads the kernel hands
// a super-frame on as it is.
func TestSuperFramesPassWhole(t *testing.T) {
	inNamespace(t)
	a := open(t, Config{Name: "s4t-a", Layer: 2})
	b := open(t, Config{Name: "s4t-b", Layer: 2})
	if !a.Offloads().TSO {
		t.Skipf("this kernel offers %v", a.Offloads())
	}
	join(t, "s4t-a", "s4t-b")
	for _, tt := range shapes {
		if tt.udp && !a.Offloads().USO || tt.payload <= tt.size {
			continue
		}
		packet := tt.packet()
		if err := a.Write(packet); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := read(t, b, 1)[0]
		if err := Validate(got, 2); err != nil {
			t.Errorf("%s: what the kernel gives is refused: %v", tt.name, err)
		}
		if err := Validate(packet, 2); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !bytes.Equal(got, packet) {
			t.Errorf("%s: got %x..., want %x...", tt.name, got[:80], packet[:80])
		}
	}
}

func TestReadFramesTakesABatchAndDoesNotAllocate(t *testing.T) {
	inNamespace(t)
	a := open(t, Config{Name: "s4t-a", Layer: 2})
	b := open(t, Config{Name: "s4t-b", Layer: 2})
	join(t, "s4t-a", "s4t-b")
	packet := builder{udp: true, payload: 100, whole: true}.packet()
	buf := make([]byte, MaxPacket)
	left := 0
	next := func() []byte {
		if left == 0 {
			return nil
		}
		return buf
	}
	done := func(n int) {
		if n != len(packet) {
			t.Errorf("a packet of %d bytes, want %d", n, len(packet))
		}
		left--
	}
	const batch = 16
	allocs := testing.AllocsPerRun(20, func() {
		for range batch {
			if err := a.Write(packet); err != nil {
				t.Error(err)
			}
		}
		left = batch
		if n, err := b.ReadFrames(next, done); n != batch || err != nil {
			t.Errorf("ReadFrames = %d, %v; want %d at once", n, err, batch)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a batch of %d, want 0", allocs, batch)
	}
}

func BenchmarkDevice(b *testing.B) {
	for _, tt := range []struct {
		name   string
		packet []byte
	}{
		{"64K", builder{payload: 65000, size: 1448, tcpOpt: 12}.packet()},
		{"64B", builder{udp: true, payload: 22, whole: true}.packet()},
	} {
		b.Run("write "+tt.name, func(b *testing.B) {
			inNamespace(b)
			d := open(b, Config{Name: "s4t-a", Layer: 2})
			b.SetBytes(int64(len(tt.packet)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Write(tt.packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkThroughTheKernel is a device's read and another's write, with a
// kernel bridge between them, 16 packets a batch.
func BenchmarkThroughTheKernel(b *testing.B) {
	for _, tt := range []struct {
		name   string
		packet []byte
	}{
		{"64K", builder{payload: 65000, size: 1448, tcpOpt: 12}.packet()},
		{"64B", builder{udp: true, payload: 22, whole: true}.packet()},
	} {
		b.Run(tt.name, func(b *testing.B) {
			inNamespace(b)
			in, out := open(b, Config{Name: "s4t-a", Layer: 2}), open(b, Config{Name: "s4t-b", Layer: 2})
			join(b, "s4t-a", "s4t-b")
			const batch = 16
			buf, left := make([]byte, MaxPacket), 0
			next := func() []byte {
				if left == 0 {
					return nil
				}
				return buf
			}
			done := func(int) { left-- }
			b.SetBytes(batch * int64(len(tt.packet)))
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					if err := in.Write(tt.packet); err != nil {
						b.Fatal(err)
					}
				}
				for left = batch; left > 0; {
					if _, err := out.ReadFrames(next, done); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
