//go:build linux

package link

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// GRESocket exchanges GRE (IPv4 protocol 47) with one remote address. It needs
// CAP_NET_RAW and no kernel module. One goroutine may read while another writes.
type GRESocket struct {
	local netip.Addr
	file  *os.File
	raw   syscall.RawConn

	closed atomic.Bool

	// Reader's state, kept here so that a call allocates nothing.
	pull  func(fd uintptr) bool
	next  func() []byte
	done  func(n int)
	count int

	// Writer's.
	push func(fd uintptr) bool
	out  []byte
}

// greBuffer is what a burst may fill, bytes: of what comes while the reader is
// not scheduled, and of what a slow interface has still to send.
const greBuffer = 4 << 20

// OpenGRE opens a socket to remote. A zero local means the address that the
// route to remote has now.
//
// Packets go out without DF, and the kernel cuts those that do not fit the
// path: an Ethernet has nobody who could be told that a frame is too big, so to
// drop them instead would be a black hole.
func OpenGRE(local, remote netip.Addr) (*GRESocket, error) {
	op := "open a GRE socket to " + remote.String()
	if !remote.Is4() || local.IsValid() && !local.Is4() {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "GRE runs between IPv4 addresses here")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
	if err != nil {
		return nil, greError(op, local, err)
	}
	from, err := greConnect(fd, local, remote)
	if err != nil {
		unix.Close(fd)
		return nil, greError(op, local, err)
	}
	s := &GRESocket{local: from, file: os.NewFile(uintptr(fd), "gre:"+remote.String())}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	s.pull, s.push = s.drain, s.send
	return s, nil
}

func greConnect(fd int, local, remote netip.Addr) (netip.Addr, error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
		return local, err
	}
	for force, option := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, greBuffer) != nil { // without CAP_NET_ADMIN
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, greBuffer)
		}
	}
	if local.IsValid() {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
			return local, err
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: remote.As4()}); err != nil {
		return local, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return local, err
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return local, unix.EAFNOSUPPORT
	}
	return netip.AddrFrom4(in4.Addr), nil
}

// greError says what kept us from opening a socket.
func greError(op string, local netip.Addr, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return s4t.Errorf(s4t.Forbidden, op, "run iotronic as root or with CAP_NET_RAW", "this process may not open raw sockets: %w", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return s4t.Errorf(s4t.Invalid, op, "give another --local, or none", "%v is not an address of the cloud host: %w", local, err)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return s4t.Errorf(s4t.Unavailable, op, "look at `ip route` on the cloud host", "the cloud host has no route to it: %w", err)
	}
	return s4t.Errorf(s4t.Internal, op, "", "%w", err)
}

// Local returns the address of this end.
func (s *GRESocket) Local() netip.Addr { return s.local }

// ReadPackets waits for packets and reads as many as there are, as
// [Device.ReadFrames] does with frames: each is a whole IPv4 packet, put
// together again where it came in fragments. A buffer must hold 65,535 bytes. It
// returns [io.EOF] after Close; what ICMP says of our own packets is no error.
func (s *GRESocket) ReadPackets(next func() []byte, done func(n int)) (int, error) {
	s.next, s.done, s.count = next, done, 0
	err := s.raw.Read(s.pull)
	s.next, s.done = nil, nil
	switch {
	case err == nil:
		return s.count, nil
	case s.closed.Load():
		return s.count, io.EOF
	}
	return s.count, s4t.Errorf(s4t.Internal, "read a GRE socket", "", "%w", err)
}

// drain is called by the poller: false means wait for more.
func (s *GRESocket) drain(fd uintptr) bool {
	for {
		buf := s.next()
		if buf == nil {
			return true
		}
		n, err := unix.Read(int(fd), buf)
		switch {
		case err == unix.EAGAIN:
			return s.count > 0
		case err != nil: // EINTR, or an ICMP error that waited
			continue
		}
		s.count++
		s.done(n)
	}
}

// Write sends a GRE header and what follows it; the kernel writes the IPv4
// header. It never waits. A packet that cannot be sent now is lost, as on any
// wire: only [io.ErrClosedPipe] is returned, after Close.
func (s *GRESocket) Write(packet []byte) error {
	s.out = packet
	err := s.raw.Write(s.push)
	s.out = nil
	if err != nil && s.closed.Load() {
		return io.ErrClosedPipe
	}
	return nil
}

// send is called by the poller: true means do not wait.
func (s *GRESocket) send(fd uintptr) bool {
	for {
		if _, err := unix.Write(int(fd), s.out); err != unix.EINTR {
			return true
		}
	}
}

// Close ends ReadPackets. It may be called twice.
func (s *GRESocket) Close() error {
	s.closed.Store(true)
	if err := s.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return s4t.Errorf(s4t.Internal, "close a GRE socket", "", "%w", err)
	}
	return nil
}
