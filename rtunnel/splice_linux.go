package rtunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/park"
)

// Splicer moves messages between a Conn and a socket inside the kernel, by way of
// a pipe(7) that is empty between calls. One goroutine uses it.
type Splicer struct {
	conn  *Conn           // carries the messages
	local syscall.RawConn // of the stream's local end
	r, w  int             // of the pipe

	head [maxMaskedHeader]byte
	out  []byte // to send before what is in the pipe
	todo int    // bytes to move in this call
	n    int    // bytes moved by the last step
	err  error  // of the last step

	// The steps, made once.
	fromLocal, fromConn, drainTo, sendTo, readHeadOf func(fd uintptr) bool
}

// NewSplicer returns a Splicer between c and local, nil where splicing is not
// possible.
func NewSplicer(c *Conn, local io.ReadWriteCloser) *Splicer {
	tcp, ok := local.(*net.TCPConn)
	if !ok || c.raw == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, 1<<20) // less room, if this is refused, moves less at once
	p := &Splicer{conn: c, local: raw, r: fds[0], w: fds[1]}
	p.fromLocal = func(fd uintptr) bool { return p.splice(int(fd), p.w) }
	p.fromConn = func(fd uintptr) bool {
		again := !p.splice(int(fd), p.w)
		if again {
			c.wait()
		}
		return !again
	}
	p.drainTo = func(fd uintptr) bool { return p.drain(int(fd)) }
	p.sendTo = func(fd uintptr) bool { return p.sendOut(int(fd)) }
	p.readHeadOf = func(fd uintptr) bool { return p.readHead(int(fd)) }
	return p
}

// Close gives the pipe back; the two connections stay open. p may be nil.
func (p *Splicer) Close() {
	if p != nil {
		unix.Close(p.r)
		unix.Close(p.w)
	}
}

// splice moves up to todo bytes that are there, and reports whether it need not
// be called again when there are some.
func (p *Splicer) splice(from, to int) bool {
	for {
		n, err := unix.Splice(from, nil, to, nil, p.todo, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		p.n, p.err = int(max(n, 0)), err
		switch p.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		return true
	}
}

// drain moves the todo bytes that are in the pipe.
func (p *Splicer) drain(to int) bool {
	for p.todo > 0 {
		if !p.splice(p.r, to) {
			return false
		}
		if p.err == nil && p.n == 0 {
			p.err = io.ErrUnexpectedEOF
		}
		if p.err != nil {
			return true
		}
		p.todo -= p.n
	}
	return true
}

// sendOut sends out and says that more comes, so that both travel together.
func (p *Splicer) sendOut(fd int) bool {
	for len(p.out) > 0 {
		n, err := unix.SendmsgN(fd, p.out, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		if p.err = err; err != nil {
			return true
		}
		p.out = p.out[n:]
	}
	return true
}

// readHead reads up to todo bytes of head.
func (p *Splicer) readHead(fd int) bool {
	for {
		p.n, p.err = unix.Read(fd, p.head[:p.todo])
		switch p.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			p.conn.wait()
			return false
		}
		return true
	}
}

// run waits with wait, which is a RawConn's Read or Write, until step is done
// with up to todo bytes.
func (p *Splicer) run(wait func(func(uintptr) bool) error, step func(uintptr) bool, todo int) error {
	p.n, p.err, p.todo = 0, nil, todo
	if err := wait(step); err != nil {
		return err
	}
	if p.err != nil {
		if no, ok := p.err.(syscall.Errno); ok {
			return os.NewSyscallError("splice", no)
		}
	}
	return p.err
}

// Send moves what has come at the local end to the conn as one message and
// returns its size, or io.EOF.
func (p *Splicer) Send() (int, error) {
	if err := p.run(p.local.Read, p.fromLocal, spliceMost); err != nil {
		return 0, err
	}
	if p.n == 0 {
		return 0, io.EOF
	}
	return p.n, p.conn.writePipe(p, p.n)
}

// writePipe sends the n bytes in p as one binary message.
func (c *Conn) writePipe(p *Splicer, n int) error {
	c.wmu.Lock()
	defer c.unlock()
	if c.sentClose || c.writeGone {
		return c.writeError(errClosed)
	}
	err := c.finish()
	if err == nil {
		size := putHeader(p.head[:], OpBinary, n, 0)
		if c.client {
			size = putMaskedHeader(p.head[:], OpBinary, n, [4]byte{}) // the key 0: see spliceAfter
		}
		p.out = p.head[:size]
		err = p.run(c.raw.Write, p.sendTo, 0)
	}
	if err == nil {
		err = p.run(c.raw.Write, p.drainTo, n)
	}
	if err != nil {
		c.writeGone = true // in the middle of a message
		return c.writeError(err)
	}
	return nil
}

// Receive moves the next message to the local end and returns how many bytes. 0
// is that this message is for ReadMessage: it is small, or control, or, with
// [ErrMasked], has to be unmasked. With [ErrLocal] the message is lost.
func (p *Splicer) Receive() (n int, err error) {
	c := p.conn
	h, here, err := c.peekHead(p)
	if err == park.ErrParked {
		return 0, err
	}
	if err != nil {
		return 0, c.fail(err)
	}
	if h.op != OpBinary || !h.fin || c.msgOp != 0 || h.masked == c.client || h.payload-here < spliceWorth {
		return 0, nil
	}
	if h.key != [4]byte{} {
		return 0, ErrMasked
	}
	if here > 0 {
		p.out = c.buf.b[c.r+h.size:][:here]
		if err := p.run(p.local.Write, p.sendTo, 0); err != nil {
			return 0, errors.Join(ErrLocal, err)
		}
	}
	giveBack(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
	for left := h.payload - here; left > 0; {
		err := p.run(c.raw.Read, p.fromConn, left)
		if c.waiter.WasInterrupted(c.nc, err) {
			continue // in the middle of a message nobody is parked
		}
		if err != nil {
			return 0, c.fail(c.readError(err))
		}
		if p.n == 0 {
			return 0, c.fail(c.readError(io.EOF))
		}
		c.heard()
		left -= p.n
		if err := p.run(p.local.Write, p.drainTo, p.n); err != nil {
			return 0, errors.Join(ErrLocal, err)
		}
	}
	return h.payload, nil
}

// peekHead returns the header of the next message and how many bytes of its
// payload have been read. It reads no more than the header of a long message,
// so that the payload stays in the kernel. A zero header is that ReadMessage
// has to make room first.
func (c *Conn) peekHead(p *Splicer) (h header, here int, err error) {
	most := maxMaskedHeader
	if c.client {
		most = MaxHeader
	}
	for {
		if c.failed != nil {
			return h, 0, c.failed
		}
		c.shrink()
		if c.buf != nil {
			h, err = parseHeader(c.buf.b[c.r:c.w], s4t.MaxMessage)
			if err != errShort {
				return h, min(c.w-c.r-h.size, h.payload), err
			}
			if len(c.buf.b)-c.w < most {
				return header{}, 0, nil
			}
		}
		err := p.run(c.raw.Read, p.readHeadOf, most-(c.w-c.r))
		if c.waiter.WasInterrupted(c.nc, err) {
			return h, 0, park.ErrParked
		}
		if err != nil {
			return h, 0, c.readError(err)
		}
		if p.n == 0 {
			return h, 0, c.readError(io.EOF)
		}
		c.heard()
		if c.buf == nil {
			c.buf = lend(0)
		}
		c.w += copy(c.buf.b[c.w:], p.head[:p.n])
	}
}
