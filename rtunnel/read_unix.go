//go:build unix

package rtunnel

import (
	"io"
	"net"
	"os"
	"syscall"
)

// initRaw prepares reading by descriptor, which waits for bytes without
// holding a buffer.
func (c *Conn) initRaw() {
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	c.raw = raw
	c.try = func(fd uintptr) bool {
		c.tryN, c.tryErr = writeNow(int(fd), c.tryBytes)
		return true
	}
	c.tryRead = func(fd uintptr) bool {
		if c.buf == nil {
			c.buf = lend(c.class)
		}
		for {
			c.readN, c.readErr = syscall.Read(int(fd), c.buf.b[c.w:])
			switch c.readErr {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				c.rest()
				c.wait()
				return false
			}
			return true
		}
	}
}

// fillRaw is fill over a plain TCP connection.
func (c *Conn) fillRaw() (int, error) {
	if err := c.raw.Read(c.tryRead); err != nil {
		return 0, err
	}
	return result(c.nc, c.readN, c.readErr)
}

// tryRawWrite writes as much of p as the kernel takes at once. The caller holds
// wmu.
func (c *Conn) tryRawWrite(p []byte) (int, error) {
	c.tryBytes = p
	err := c.raw.Write(c.try)
	c.tryBytes = nil
	if err == nil {
		err = c.tryErr
	}
	return c.tryN, err
}

// tryRawWrite does the same with what was kept. The caller holds mu.
func (b *bulk) tryRawWrite() (int, error) {
	err := b.raw.Write(b.try)
	if err == nil {
		err = b.tryErr
	}
	return b.tryN, err
}

// writeNow is one write(2) to a descriptor that does not block; 0 bytes is that
// the kernel takes none now.
func writeNow(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, nil
		case nil:
			return n, nil
		}
		return 0, os.NewSyscallError("write", err)
	}
}

// result is what net.Conn's Read returns after such a read(2).
func result(c net.Conn, n int, err error) (int, error) {
	switch {
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// readAhead fills the buffer; it waits without one.
func (b *bulk) readAhead() error {
	if err := b.raw.Read(b.tryRead); err != nil {
		return err
	}
	_, err := result(b.Conn, b.readN, b.readErr)
	return err
}

// initRaw prepares reading by descriptor.
func (b *bulk) initRaw() {
	tcp, ok := b.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	b.raw = raw
	b.try = func(fd uintptr) bool {
		b.tryN, b.tryErr = writeNow(int(fd), b.out.b[b.sent:b.n])
		return true
	}
	b.tryRead = func(fd uintptr) bool {
		b.buf = lend(b.class)
		for {
			b.readN, b.readErr = syscall.Read(int(fd), b.buf.b)
			if b.readErr == syscall.EINTR {
				continue
			}
			if b.readErr == nil && b.readN > 0 {
				b.took(b.readN)
				return true
			}
			giveBack(b.buf)
			b.buf = nil
			return b.readErr != syscall.EAGAIN
		}
	}
}
