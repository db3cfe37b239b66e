//go:build linux

package link

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rawio"
	"github.com/stack4things/s4t/vnet"
)

// Config configures a [Device].
type Config struct {
	Name  string           // required: of the interface, at most 15 bytes; no device of that name may exist
	Layer int              // required: 2 for a TAP, 3 for a TUN
	MAC   net.HardwareAddr // optional, layer 2: the kernel chooses one by default
	Plain bool             // optional: open without offloads, for a driver or a test that cannot stand them
	Log   *slog.Logger     // optional: default discards
}

// Device is a TAP or TUN device that exists as long as it is open: the kernel
// removes it on Close and at the end of the process, however that comes. One
// goroutine may read while others write.
type Device struct {
	name  string
	layer int
	caps  Offloads
	file  *os.File
	raw   syscall.RawConn
	log   *slog.Logger

	closed atomic.Bool // the poller's own error for this is not exported

	// Reader's state, kept here so that a call allocates nothing.
	pull   func(fd uintptr) bool
	next   func() []byte
	done   func(n int)
	count  int
	failed error

	wmu     sync.Mutex // held while writing; guards the fields below
	merge   merger
	push    func(fd uintptr) bool
	out     []byte
	pushErr error
}

// Open creates a device. It is down and has no addresses: [Apply] a plan to it.
//
// Offloads are found out by asking: the whole set, then without USO (kernels
// before 6.2), then without TSO, then no virtio_net_hdr at all.
func Open(cfg Config) (*Device, error) {
	op := "create device " + cfg.Name
	if err := vnet.ValidInterfaceName(cfg.Name); err != nil {
		return nil, err
	}
	if cfg.Layer != 2 && cfg.Layer != 3 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "layer %d is neither 2 nor 3", cfg.Layer)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	fd, caps, err := openTun(cfg.Name, cfg.Layer, cfg.Plain)
	if err != nil {
		return nil, openError(op, err)
	}
	if cfg.Layer == 2 && len(cfg.MAC) > 0 {
		if err := Apply([]vnet.Op{vnet.Address{Name: cfg.Name, MAC: cfg.MAC}}); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	d := &Device{name: cfg.Name, layer: cfg.Layer, caps: caps, log: cfg.Log}
	d.file = os.NewFile(uintptr(fd), "/dev/net/tun:"+cfg.Name)
	if d.raw, err = d.file.SyscallConn(); err != nil {
		d.file.Close()
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	d.pull, d.push = d.drain, d.send
	cfg.Log.Debug("device created", "device", cfg.Name, "layer", cfg.Layer, "offloads", caps.String())
	return d, nil
}

// Name returns the name of the interface.
func (d *Device) Name() string { return d.name }

// Layer returns 2 for a TAP, 3 for a TUN.
func (d *Device) Layer() int { return d.layer }

// Offloads returns what the kernel does on this device.
func (d *Device) Offloads() Offloads { return d.caps }

// ReadFrames waits until the kernel has sent at least one packet, then reads
// until there are no more or the caller has no room. For each packet it calls
// next for a buffer of at least [MaxPacket] bytes (the caller keeps head room in
// front of it for a header of its own), reads header and frame into it, and
// calls done with their length. A next that returns nil ends the batch.
//
// It returns the number of packets read, with [io.EOF] after Close and
// [ErrGone] when the device was removed from outside. Both
// functions are best made once and kept: a call then allocates nothing. Only
// one goroutine may be in ReadFrames.
func (d *Device) ReadFrames(next func() []byte, done func(n int)) (int, error) {
	d.next, d.done, d.count, d.failed = next, done, 0, nil
	err := d.raw.Read(d.pull)
	d.next, d.done = nil, nil
	if err == nil {
		err = d.failed
	}
	switch {
	case err == nil:
		return d.count, nil
	case d.closed.Load():
		return d.count, io.EOF
	case errors.Is(err, unix.EBADFD), d.detached():
		return d.count, ErrGone
	}
	return d.count, s4t.Errorf(s4t.Internal, "read device "+d.name, "", "%w", err)
}

// detached reports whether somebody has removed the device: the poller's own
// error for a descriptor that is of no use any more is not exported.
func (d *Device) detached() bool {
	var failed error
	err := d.raw.Control(func(fd uintptr) {
		ifr, err := unix.NewIfreq(d.name)
		if err == nil {
			err = unix.IoctlIfreq(int(fd), unix.TUNGETIFF, ifr)
		}
		failed = err
	})
	return err == nil && errors.Is(failed, unix.EBADFD)
}

// drain is called by the poller: false means wait for more.
func (d *Device) drain(fd uintptr) bool {
	for {
		buf := d.next()
		if len(buf) < MaxPacket {
			return true
		}
		at := buf
		if !d.caps.Header {
			clear(buf[:HeaderLen])
			at = buf[HeaderLen:]
		}
		n, err := rawio.Read(int(fd), at)
		switch {
		case err == unix.EAGAIN:
			return d.count > 0
		case err != nil:
			d.failed = err
			return true
		}
		if !d.caps.Header {
			n += HeaderLen
		}
		if n > HeaderLen {
			d.count++
			d.done(n)
		}
	}
}

// Write gives one packet, header and frame, to the kernel. packet must have
// passed [Validate]; Write may change its bytes. Any number of goroutines may
// write.
//
// A small UDP datagram may wait for others of its flow until the next Write
// that is none, or Flush, which then returns its error too: call Flush when no
// more packets are at hand.
//
// It returns [ErrDown] while the device is not up, [ErrGone] when it was
// removed from outside (make another), [ErrRefused] for a packet
// that the kernel or the software path cannot take (drop it and count it), and
// [io.ErrClosedPipe] after Close.
func (d *Device) Write(packet []byte) error {
	if len(packet) <= HeaderLen {
		return ErrRefused
	}
	d.wmu.Lock()
	defer d.wmu.Unlock()
	if !d.caps.USO {
		return d.writeNow(packet)
	}
	if d.merge.take(packet, d.layer) {
		return nil
	}
	err := d.flush()
	if d.merge.take(packet, d.layer) {
		return err
	}
	return cmp.Or(d.writeNow(packet), err)
}

// Flush writes what Write has kept.
func (d *Device) Flush() error {
	d.wmu.Lock()
	defer d.wmu.Unlock()
	return d.flush()
}

// flush is Flush for who holds wmu.
func (d *Device) flush() error {
	if packet := d.merge.packet(); packet != nil {
		return d.writeNow(packet)
	}
	return nil
}

// writeNow writes one packet. The caller holds wmu.
func (d *Device) writeNow(packet []byte) error {
	if !d.caps.Header {
		return d.writePlain(packet)
	}
	err := d.write(packet)
	if err != nil && errors.Is(err, unix.EINVAL) && packet[1] != GSONone {
		// A kernel that does not know this kind of super-frame (USO before 6.2).
		return d.writeSegments(packet)
	}
	return d.writeError(err)
}

// write is one write(2) of what the kernel takes as a whole. The caller holds
// wmu.
func (d *Device) write(p []byte) error {
	d.out = p
	err := d.raw.Write(d.push)
	d.out = nil
	if err == nil {
		err = d.pushErr
	}
	return err
}

// send is called by the poller: false means wait until the kernel takes more.
func (d *Device) send(fd uintptr) bool {
	_, d.pushErr = rawio.Write(int(fd), d.out)
	return d.pushErr != unix.EAGAIN
}

// writePlain does in software what the header asks for.
func (d *Device) writePlain(packet []byte) error {
	switch {
	case packet[1] != GSONone:
		return d.writeSegments(packet)
	case packet[0]&FlagNeedsChecksum != 0:
		if err := Complete(packet); err != nil {
			return ErrRefused
		}
	}
	err := d.write(packet[HeaderLen:])
	return d.writeError(err)
}

// writeSegments writes a super-frame as the frames it stands for.
func (d *Device) writeSegments(packet []byte) error {
	var failed error
	head := HeaderLen
	if !d.caps.Header {
		head = 0
	}
	err := Segment(packet, d.layer, func(segment []byte) bool {
		clear(segment[:HeaderLen])
		err := d.write(segment[HeaderLen-head:])
		failed = d.writeError(err)
		return failed == nil
	})
	if err != nil {
		return ErrRefused
	}
	return failed
}

// Errors of [Device.Write]; values, so that dropping a packet allocates little.
var (
	ErrDown    = errors.New("link: the device is not up")
	ErrGone    = errors.New("link: somebody has removed the device")
	ErrRefused = errors.New("link: the kernel refuses the packet")
)

// OnlyGone drops an error of [Device.Write] or [Device.Flush] unless the device
// is gone: what the kernel refuses is a frame lost, as on any wire.
func OnlyGone(err error) error {
	if errors.Is(err, ErrGone) {
		return err
	}
	return nil
}

func (d *Device) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case d.closed.Load():
		return io.ErrClosedPipe
	case errors.Is(err, unix.EIO): // drivers/net/tun.c: not IFF_UP
		return ErrDown
	case errors.Is(err, unix.EBADFD): // drivers/net/tun.c: `ip link delete` took the device away
		return ErrGone
	}
	return ErrRefused
}

// Close removes the device and ends ReadFrames. It may be called twice.
func (d *Device) Close() error {
	d.closed.Store(true)
	if err := d.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return s4t.Errorf(s4t.Internal, "remove device "+d.name, "", "%w", err)
	}
	return nil
}

// Bits of the kernel's TUN interface in the order we give them up.
const offloadTSO = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6

var offloadLadder = [...]struct {
	bits int
	caps Offloads
}{
	{offloadTSO | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6, Offloads{Header: true, Checksum: true, TSO: true, USO: true}},
	{offloadTSO | unix.TUN_F_TSO_ECN, Offloads{Header: true, Checksum: true, TSO: true}},
	{unix.TUN_F_CSUM, Offloads{Header: true, Checksum: true}},
	{0, Offloads{Header: true}},
}

// openTun opens a new device of that name, which may hold a %d for the kernel
// to number.
func openTun(name string, layer int, plain bool) (fd int, caps Offloads, err error) {
	flags := uint16(unix.IFF_NO_PI | unix.IFF_TUN_EXCL | unix.IFF_TAP)
	if layer == 3 {
		flags = unix.IFF_NO_PI | unix.IFF_TUN_EXCL | unix.IFF_TUN
	}
	try := func(flags uint16) (int, error) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		ifr, err := unix.NewIfreq(name)
		if err == nil {
			ifr.SetUint16(flags)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
	if !plain {
		fd, err := try(flags | unix.IFF_VNET_HDR)
		switch {
		case err == nil:
			if caps, ok := offload(fd); ok {
				return fd, caps, nil
			}
			unix.Close(fd)
		case err != unix.EINVAL:
			return -1, Offloads{}, err
		}
	}
	fd, err = try(flags)
	return fd, Offloads{}, err
}

// offload sets the header's form and as many offloads as the kernel takes.
func offload(fd int) (Offloads, bool) {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, HeaderLen); err != nil {
		return Offloads{}, false
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
			return Offloads{}, false
		}
	}
	for _, rung := range offloadLadder {
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, rung.bits) == nil {
			return rung.caps, true
		}
	}
	return Offloads{}, false
}

// openError says what kept us from creating a device.
func openError(op string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return s4t.Errorf(s4t.Conflict, op, "is another lightning-rod running? see `ip link`", "a device of that name exists: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return s4t.Errorf(s4t.Unavailable, op, "load the kernel module `tun`, or give the container /dev/net/tun", "/dev/net/tun is not there: %w", err)
	case errors.Is(err, unix.EACCES):
		return s4t.Errorf(s4t.Forbidden, op, "run as root, or let this user read and write it", "/dev/net/tun may not be opened: %w", err)
	case errors.Is(err, unix.EPERM):
		return s4t.Errorf(s4t.Forbidden, op, "run as root or with CAP_NET_ADMIN", "this process may not create devices: %w", err)
	}
	return s4t.Errorf(s4t.Internal, op, "", "%w", err)
}
