//go:build unix

package rtunnel

import (
	"io"
	"net"
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
	switch {
	case c.readErr != nil:
		return 0, c.readErr
	case c.readN == 0:
		return 0, io.EOF
	}
	return c.readN, nil
}
