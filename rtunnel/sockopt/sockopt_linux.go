package sockopt

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SetSegmentSize limits the TCP segments of a socket that is not connected yet
// (TCP_MAXSEG): our SYN announces it, so it bounds both directions. 0 leaves the
// kernel's own.
func SetSegmentSize(c syscall.RawConn, mss int) error {
	if mss == 0 {
		return nil
	}
	return setsockopt(c, unix.TCP_MAXSEG, mss)
}

// SetUserTimeout breaks the connection when sent data stays unacknowledged for
// d (TCP_USER_TIMEOUT). A peer that does not read counts too once its
// window is closed, so it is for data rtunnels of ports, never for streams,
// whose back pressure may last.
func SetUserTimeout(c net.Conn, d time.Duration) error {
	return withSocket(c, func(rc syscall.RawConn) error {
		return setsockopt(rc, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// What [Watch] sets. An idle path that is cut is known 8 s after the last byte
// or acknowledgement that came: five probes from 3 s on, and the end at the next.
const (
	probeAfter  = 3 // seconds
	probeEvery  = 1
	probes      = 5
	unheardTime = 8 * time.Second
)

// Watch has the kernel find out within 8 s that the path of c is cut or its other
// end is gone, without a byte of ours (tcp(7), TCP_KEEPIDLE, TCP_USER_TIMEOUT);
// a read fails then. Like [SetUserTimeout] it breaks a connection whose peer does
// not read. A peer that hangs acknowledges all the same.
func Watch(c net.Conn) error {
	watched := false
	err := withSocket(c, func(rc syscall.RawConn) error {
		watched = true
		var err error
		if cerr := rc.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfter),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEvery),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheardTime.Milliseconds())),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
		}); cerr != nil {
			return cerr
		}
		return err
	})
	if err == nil && !watched {
		return errors.ErrUnsupported
	}
	return err
}

// Acknowledged reports whether everything that was sent on c was acknowledged, and
// lost whether it was not and nothing was heard for so long that the path is cut:
// the timeout of what was sent begins when it is sent, which may be late.
func Acknowledged(c net.Conn) (all, lost bool) {
	info := tcpInfo(c)
	if info.Unacked == 0 {
		return true, false
	}
	return false, time.Duration(info.Last_ack_recv)*time.Millisecond >= unheardTime
}

// SetNotSentLowAt bounds the bytes that wait unsent in the kernel
// (Documentation/networking/ip-sysctl.rst, tcp_notsent_lowat), so that queues
// stay where frames can be chosen and dropped.
func SetNotSentLowAt(c net.Conn, bytes int) error {
	return withSocket(c, func(rc syscall.RawConn) error {
		return setsockopt(rc, unix.TCP_NOTSENT_LOWAT, bytes)
	})
}

// SetCongestion chooses the congestion control of c (TCP_CONGESTION).
// It fails where the kernel has no such one, or keeps it for root.
func SetCongestion(c net.Conn, name string) error {
	return withSocket(c, func(rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
		}); cerr != nil {
			return cerr
		}
		return err
	})
}

func setsockopt(c syscall.RawConn, name, value int) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, name, value)
	}); cerr != nil {
		return cerr
	}
	return err
}

// RoundTrip is the kernel's smoothed round-trip time of c, 0 if unknown.
func RoundTrip(c net.Conn) time.Duration {
	return time.Duration(tcpInfo(c).Rtt) * time.Microsecond
}

// Unheard reports whether what we sent was sent again twice (include/net/tcp.h,
// icsk_backoff) and is still not acknowledged: it does not get through.
func Unheard(c net.Conn) bool {
	info := tcpInfo(c)
	return info.Unacked > 0 && info.Backoff >= 2
}

// SetBacklog has at most n connections wait to be accepted (listen(2)); the
// kernels of more try again by themselves, after a second first.
func SetBacklog(l syscall.Conn, n int) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := rc.Control(func(fd uintptr) { err = unix.Listen(int(fd), n) }); cerr != nil {
		return cerr
	}
	return err
}

// Left reports whether the peer has closed c, or the connection is gone
// (include/net/tcp_states.h: neither TCP_ESTABLISHED nor unknown), without
// reading what it sent before.
func Left(c net.Conn) bool {
	state := tcpInfo(c).State
	return state != 0 && state != tcpEstablished
}

const tcpEstablished = 1

// Peek copies what came on c and was not read yet, as far as it fits, and leaves it
// there to be read (recv(2), MSG_PEEK). It does not wait; 0: nothing came, or it
// cannot be had.
func Peek(c net.Conn, p []byte) (n int) {
	withSocket(c, func(rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) {
			if got, _, err := unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil {
				n = got
			}
		})
	})
	return n
}

// tcpInfo is what the kernel knows of c (TCP_INFO), zero if it cannot
// be had.
func tcpInfo(c net.Conn) (info unix.TCPInfo) {
	withSocket(c, func(rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				info = *got
			}
		})
	})
	return info
}
