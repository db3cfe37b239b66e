package rtunnel

import (
	"encoding/binary"
	"io"
	"runtime"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/park"
)

// ReadMessage returns the next text or binary message of at most
// [s4t.MaxMessage] bytes, or what LimitMessages said. The slice is valid, and may be changed, until the
// next read. Pings are answered and pongs noted on the way. It returns io.EOF
// after the peer closed normally, and [park.ErrParked] after [Conn.Interrupt];
// after any other error all later reads fail.
func (c *Conn) ReadMessage() (Opcode, []byte, error) {
	for {
		op, p, ok, err := c.next(c.limit)
		if err != nil {
			return 0, nil, c.fail(err)
		}
		if ok {
			if op != 0 {
				return op, p, nil
			}
			continue
		}
		if err := c.fill(); err == park.ErrParked {
			return 0, nil, err
		} else if err != nil {
			return 0, nil, c.fail(err)
		}
	}
}

// ReadFrames reads binary messages of at most limit bytes until the connection
// ends, and calls each for every one. The frame lies in the read buffer: it
// may be changed, and is valid during the call only. Whenever the bytes that
// came with one read are used up, and before waiting for more, it calls flush,
// which may be nil. Text messages are ignored. It returns nil after the peer
// closed normally, the first error of each or flush, or why the connection
// ended. It allocates nothing for a frame.
func (c *Conn) ReadFrames(limit int, each func(frame []byte) error, flush func() error) error {
	dirty, moved := false, 0
	for {
		op, p, ok, err := c.next(limit)
		if err != nil {
			if dirty && flush != nil {
				if ferr := flush(); ferr != nil {
					err = ferr
				}
			}
			if err = c.fail(err); err == io.EOF {
				return nil
			}
			return err
		}
		switch {
		case ok && op == OpBinary:
			dirty = true
			if err := each(p); err != nil {
				return err
			}
		case !ok:
			if dirty && flush != nil {
				if err := flush(); err != nil {
					return err
				}
			}
			dirty = false
			if moved += c.r; moved >= yieldAfter { // system calls do not yield; see rawio
				moved = 0
				runtime.Gosched()
			}
			if err := c.fill(); err != nil {
				return c.fail(err)
			}
		}
	}
}

// yieldAfter is how many bytes of frames are handled before other goroutines
// run.
const yieldAfter = 64 << 10

// LimitMessages bounds the messages of [Conn.ReadMessage] to n bytes from now on.
// Who reads calls it.
func (c *Conn) LimitMessages(n int) { c.limit = n }

// next takes one frame from the buffered bytes. ok says that there was a whole
// one; op is then its opcode if it completes a message, whose unmasked payload
// is p, and 0 if it was a control frame or a fragment.
func (c *Conn) next(limit int) (op Opcode, p []byte, ok bool, err error) {
	if c.failed != nil {
		return 0, nil, false, c.failed
	}
	if c.r == c.w {
		return 0, nil, false, nil
	}
	b := c.buf.b[c.r:c.w]
	h, err := parseHeader(b, limit)
	if err == errShort {
		return 0, nil, false, nil
	}
	if err != nil {
		return 0, nil, false, err
	}
	if h.masked == c.client {
		return 0, nil, false, protocolError("a frame is masked the wrong way round")
	}
	if len(b)-h.size < h.payload {
		return 0, nil, false, nil
	}
	p = b[h.size : h.size+h.payload : h.size+h.payload]
	c.r += h.size + h.payload
	if h.masked {
		mask(p, h.key)
	}
	if h.fin && (h.op == OpBinary || h.op == OpText) && c.msgOp == 0 {
		return h.op, p, true, nil
	}
	op, p, err = c.unusual(h, p, limit)
	return op, p, true, err
}

// unusual handles control frames and fragments.
func (c *Conn) unusual(h header, p []byte, limit int) (Opcode, []byte, error) {
	switch h.op {
	case OpPing:
		c.pmu.Lock()
		c.pong = append(make([]byte, 0, len(p)), p...)
		c.pmu.Unlock()
		c.sendControl()
		return 0, nil, nil
	case OpPong: // lastRead has noted it
		return 0, nil, nil
	case OpClose:
		return 0, nil, c.closed(p)
	case OpText, OpBinary:
		if c.msgOp != 0 {
			return 0, nil, protocolError("a message begins inside another")
		}
		c.msgOp, c.msg = h.op, c.msg[:0]
	default:
		if c.msgOp == 0 {
			return 0, nil, protocolError("a continuation continues nothing")
		}
	}
	if len(c.msg)+len(p) > limit {
		return 0, nil, tooBig(uint64(len(c.msg)+len(p)), limit)
	}
	c.msg = append(c.msg, p...)
	if !h.fin {
		return 0, nil, nil
	}
	op, msg := c.msgOp, c.msg
	c.msgOp = 0
	if cap(c.msg) > bufferSizes[0] {
		c.msg = nil
	}
	return op, msg, nil
}

// closed handles the peer's close frame, whose payload is p: it answers it and
// returns io.EOF for a normal end.
func (c *Conn) closed(p []byte) error {
	code := statusNone
	if len(p) == 1 {
		return protocolError("a close frame has half a status code")
	}
	if len(p) >= 2 {
		code = binary.BigEndian.Uint16(p)
		p = p[2:]
	}
	c.wmu.Lock()
	if !c.sentClose {
		c.nc.SetWriteDeadline(time.Now().Add(CloseWait))
		answer := []byte{byte(StatusNormal >> 8), byte(StatusNormal & 0xff)}
		c.writeControl(OpClose, answer) // the connection ends either way
	}
	c.wmu.Unlock()
	switch code {
	case StatusNormal, StatusGoingAway, statusNone:
		return io.EOF
	}
	kind := s4t.Unavailable
	if code == StatusPolicy {
		kind = s4t.Forbidden
	}
	return s4t.Errorf(kind, readOp, "", "the other end closed with status %d %q", code, p)
}

// fail remembers what ended reading and gives the buffer back.
func (c *Conn) fail(err error) error {
	if c.failed == nil {
		c.failed = err
	}
	if c.buf != nil {
		giveBack(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
	return c.failed
}

// fill waits for bytes and reads as many as fit. What was handed out of the
// buffer before is no longer valid.
func (c *Conn) fill() error {
	c.makeRoom()
	var n int
	var err error
	if c.raw != nil {
		if n, err = c.fillRaw(); n > 0 {
			c.adapt(n)
		}
	} else {
		n, err = c.fillRead()
	}
	if n > 0 {
		c.heard()
		c.w += n
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if err == errNothing || c.waiter.WasInterrupted(c.nc, err) {
		return park.ErrParked
	}
	return c.readError(err)
}

// heard notes that bytes have come.
func (c *Conn) heard() {
	c.lastRead.Store(int64(time.Since(c.start)))
	c.waiting.Store(0)
}

// wait notes that the peer is waited for from now on.
func (c *Conn) wait() {
	if c.waiting.Load() == 0 {
		c.waiting.Store(max(1, int64(time.Since(c.start))))
	}
}

// makeRoom gives the buffer back when it is empty, moves what is left of it to
// the front when little room is behind, and takes a larger one when it is
// full. Growing follows bytes that came, never a length that was announced.
func (c *Conn) makeRoom() {
	switch {
	case c.buf == nil:
	case c.r == c.w:
		c.r, c.w = 0, 0
		if c.buf.class != c.class {
			giveBack(c.buf)
			c.buf = nil
		}
	case c.r == 0 && c.w == len(c.buf.b):
		if class := c.buf.class; class >= 0 && class < topClass {
			c.class = class + 1
			c.swap(lend(c.class))
		} else { // a message beyond the pools: doubled, so that moving costs little
			c.swap(&buffer{make([]byte, 2*len(c.buf.b)), -1})
		}
	case len(c.buf.b)-c.w < len(c.buf.b)/4:
		c.w = copy(c.buf.b, c.buf.b[c.r:c.w])
		c.r = 0
	}
}

// swap moves the unread bytes to another buffer.
func (c *Conn) swap(to *buffer) {
	c.w = copy(to.b, c.buf.b[c.r:c.w])
	c.r = 0
	giveBack(c.buf)
	c.buf = to
}

// adapt chooses the class of the next buffer: the next larger one after a read
// that filled this one, the next smaller one after a read of next to nothing.
func (c *Conn) adapt(n int) {
	switch room := len(c.buf.b) - c.w; {
	case n == room && c.class < topClass:
		c.class++
	case n < len(c.buf.b)/64 && c.r == c.w && c.class > 0:
		c.class--
	}
}

// shrink makes the buffer small, or gives it back, before a wait that may be
// long.
func (c *Conn) shrink() {
	switch {
	case c.buf == nil:
	case c.r == c.w:
		giveBack(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	case c.buf.class > 0 && c.w-c.r <= bufferSizes[0]/2:
		c.swap(lend(0))
	}
}

// fillRead is fill over a connection without a descriptor. It waits for the
// first bytes with a few bytes of its own, so that it holds no buffer then.
func (c *Conn) fillRead() (int, error) {
	if c.buf == nil || c.r == c.w {
		c.shrink()
		c.wait()
		n, err := c.nc.Read(c.first[:])
		if n > 0 {
			c.buf = lend(c.class)
			copy(c.buf.b, c.first[:n])
		}
		return n, err
	}
	c.wait()
	n, err := c.nc.Read(c.buf.b[c.w:])
	if n > 0 {
		c.adapt(n)
	}
	return n, err
}
