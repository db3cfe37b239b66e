//go:build unix

package rtunnel

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/stack4things/s4t/rawio"
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
	c.out.use(raw)
	c.tryRead = func(fd uintptr) bool {
		if c.buf == nil {
			c.buf = lend(c.class)
		}
		c.readN, c.readErr = rawio.Read(int(fd), c.buf.b[c.w:])
		if c.readErr == syscall.EAGAIN {
			c.shrink()
			c.wait()
			return c.eager
		}
		return true
	}
}

// fillRaw is fill over a plain TCP connection.
func (c *Conn) fillRaw() (int, error) {
	if err := c.raw.Read(c.tryRead); err != nil {
		return 0, err
	}
	return result(c.nc, c.readN, c.readErr)
}

// result is what net.Conn's Read returns after such a read(2).
func result(c net.Conn, n int, err error) (int, error) {
	switch {
	case err == syscall.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// readAhead fills the buffer; it waits without one.
func (b *recordBatch) readAhead() error {
	if err := b.raw.Read(b.tryRead); err != nil {
		return err
	}
	_, err := result(b.Conn, b.readN, b.readErr)
	return err
}

// initRaw prepares reading by descriptor.
func (b *recordBatch) initRaw() {
	tcp, ok := b.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	b.raw = raw
	b.out.use(raw)
	b.tryRead = func(fd uintptr) bool {
		b.buf = lend(b.class)
		b.readN, b.readErr = rawio.Read(int(fd), b.buf.b)
		if b.readErr == nil && b.readN > 0 {
			b.took(b.readN)
			return true
		}
		giveBack(b.buf)
		b.buf = nil
		return b.readErr != syscall.EAGAIN || b.eager
	}
}

// rawReader is what a [Sender] reads a TCP connection with; nil if its
// descriptor cannot be had.
func rawReader(tcp *net.TCPConn) func(class int) (*buffer, int, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var (
		class   int
		b       *buffer
		n       int
		readErr error
	)
	try := func(fd uintptr) bool {
		b = lend(class)
		n, readErr = rawio.Read(int(fd), b.b[maxMaskedHeader:maxMaskedHeader+room(b)])
		if readErr == syscall.EAGAIN {
			giveBack(b)
			b = nil
			return false
		}
		return true
	}
	return func(want int) (*buffer, int, error) {
		class, b, n, readErr = want, nil, 0, nil
		err := raw.Read(try)
		switch {
		case err != nil:
			if b != nil {
				giveBack(b)
			}
			return nil, 0, err
		case readErr != nil:
			return b, 0, readErr
		case n == 0:
			return b, 0, io.EOF
		}
		return b, n, nil
	}
}
