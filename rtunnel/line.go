package rtunnel

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// line is one end of an rtunnel with [SubprotocolStreams], which carries
// streams one after another. One goroutine, in read, moves the bytes of one
// direction; while a stream is open a second, in pump, moves those of the other.
// A line on which nothing moves holds neither buffers nor goroutines: see lot.
type line struct {
	conn  *Conn
	owner lineOwner
	in    inflow // of the stream now open; the reader's

	mu  sync.Mutex // guards the fields below
	leg *leg       // the stream now open or being opened; nil: idle
}

// lineOwner is told by a line's reader. Each call may block the reader.
type lineOwner interface {
	control(l *line, m control) error // a message that line does not handle itself
	over(l *line, err error)          // the rtunnel has ended, and the line with it
	idle(l *line)                     // a stream has ended and the line can carry the next
}

// leg is this end of a stream.
type leg struct {
	local HalfCloser
	admit func() error  // at the tunnel agent: called by the reader before bytes flow; may be nil
	open  bool          // bytes may come; set by the reader
	done  chan struct{} // closed when both directions have ended
	ended func(error)   // called by pump after done; may be nil
	err   error         // why the stream broke, nil for a clean end; valid after done

	readEnded, writeEnding, writeEnded bool // the other end sent eof; we are about to send it; it is sent

	sleeper sleeper       // pump
	moved   atomic.Uint32 // counts what pump reads from local, from 1 on; 0: it has not begun
	seen    uint32        // of moved, by quieten
}

// read moves messages until the rtunnel ends. Whatever stream is open then is
// broken: its local end is reset. It returns why, io.EOF after a normal close.
func (l *line) read() error {
	defer l.in.reset()
	for {
		var op Opcode
		var p []byte
		err := l.splice()
		if err == nil {
			op, p, err = l.conn.ReadMessage()
		}
		if err == nil {
			err = l.take(op, p)
		}
		if err == errRest {
			return err
		}
		if err != nil {
			l.conn.Close()
			l.broken(err)
			return err
		}
	}
}

// take handles one message.
func (l *line) take(op Opcode, p []byte) error {
	if op == OpBinary {
		g := l.current()
		if g == nil || !g.open || g.readEnded {
			return streamError("bytes came outside a stream")
		}
		if _, err := g.local.Write(p); err != nil {
			l.reset()
			return err
		}
		l.in.note(len(p))
		return nil
	}
	m, err := parseControl(p)
	switch {
	case err != nil:
		return err
	case m.Reset != nil:
		return errReset
	case m.EOF == nil:
		return l.owner.control(l, m)
	}
	g := l.current()
	if g == nil || !g.open || g.readEnded {
		return streamError("eof came outside a stream")
	}
	l.in.reset()
	g.local.CloseWrite() // an error means that nobody listens there any more: pump sees it
	l.settle(g, func() { g.readEnded = true })
	return nil
}

// current returns the leg of the stream. Its fields open and readEnded belong
// to the reader.
func (l *line) current() *leg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leg
}

// ending returns a channel that closes when the stream has ended, if only our
// own end of it does not know yet: the other end has read our eof and may ask
// for the next stream before pump comes to note that it was sent.
func (l *line) ending() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.leg; g != nil && g.readEnded && g.writeEnding {
		return g.done
	}
	return nil
}

// begin makes g the line's stream. It returns false if there is one already.
func (l *line) begin(g *leg) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leg != nil {
		return false
	}
	l.leg = g
	g.sleeper.lot = l.conn.sleeper.lot
	return true
}

// admit opens g for bytes. It returns false if that is done already, or g is
// not the line's stream any more.
func (l *line) admit(g *leg) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leg != g || g.open {
		return false
	}
	g.open = true
	return true
}

// drop takes g, whose local end is left alone, off the line, and reports
// whether bytes could come already.
func (l *line) drop(g *leg) (open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leg == g {
		l.leg = nil
	}
	return g.open
}

// pump moves bytes from the local end to the rtunnel until the local end has
// no more, then sends eof, and waits for the end of the stream.
func (l *line) pump(g *leg) {
	g.moved.CompareAndSwap(0, 1)
	err := copyIn(l.conn, g.local, &g.moved)
	if tcp, ok := g.local.(*net.TCPConn); ok && g.sleeper.heeds(tcp, err) {
		if raw, e := tcp.SyscallConn(); e == nil {
			g.sleeper.park(raw, func() { l.pump(g) })
			return
		}
	}
	l.pumped(g, err)
	<-g.done
	if g.ended != nil {
		g.ended(g.err)
	}
}

// pumped is the end of pump: err is why the local end has no more.
func (l *line) pumped(g *leg, err error) {
	if err == nil {
		l.settle(g, func() { g.writeEnding = true })
		err = control{EOF: set}.send(l.conn)
	}
	if err != nil {
		l.reset()
		l.conn.Close() // ends read, which ends the leg
		l.broken(err)
		return
	}
	l.settle(g, func() { g.writeEnded = true })
}

// settle notes progress of g; when both directions have ended, the line is
// idle again.
func (l *line) settle(g *leg, note func()) {
	l.mu.Lock()
	note()
	over := g.readEnded && g.writeEnded && l.leg == g
	if over {
		l.leg = nil
	}
	l.mu.Unlock()
	if over {
		g.local.Close()
		l.owner.idle(l)
		close(g.done)
	}
}

// broken ends the stream that is open, if one is, with a reset of its local
// end.
func (l *line) broken(err error) {
	l.mu.Lock()
	g := l.leg
	l.leg = nil
	l.mu.Unlock()
	if g == nil {
		return
	}
	g.err = err
	if g.open { // else another rtunnel may carry it
		abort(g.local)
		g.sleeper.leave()
	}
	close(g.done)
}

// shut ends the rtunnel and the stream on it from outside.
func (l *line) shut(err error) {
	l.conn.Close()
	l.broken(err)
}

// reset tells the other end that the stream is broken, waiting a moment at
// most. The rtunnel is to be closed after it.
func (l *line) reset() {
	l.conn.nc.SetWriteDeadline(time.Now().Add(closeWait))
	control{Reset: set}.send(l.conn) // who cannot be told sees the cut
}

// breakOff ends a stream from outside: both ends see a reset.
func (l *line) breakOff(g *leg, err error) {
	if l.current() != g {
		return
	}
	l.reset()
	l.conn.Close()
	l.broken(err)
}

// abort closes a local end so that its peer sees a reset, not an end: what was
// transferred is not whole.
func abort(c io.Closer) {
	switch c := c.(type) {
	case *Stream:
		c.CloseWithReset()
		return
	case interface{ SetLinger(int) error }:
		c.SetLinger(0) // RST (tcp(7), socket(7))
	}
	c.Close()
}

// copyIn moves bytes from local to c as binary messages until local has no
// more. It holds a buffer only while bytes are there.
func copyIn(c *Conn, local io.Reader, moved *atomic.Uint32) error {
	if s, ok := local.(*Stream); ok {
		_, err := s.WriteTo(messageWriter{c})
		return err
	}
	read := borrowingReader(local)
	class := 0
	var bulk bulkiness
	spliced := true // as far as it is known
	for {
		moved.Add(1)
		if bulk.enough() && spliced {
			var err error
			if spliced, err = spliceIn(c, local, &bulk, moved); err != nil {
				if err == io.EOF {
					err = nil
				}
				return err
			}
		}
		b, n, err := read(class)
		if n > 0 {
			bulk.note(n)
			if n == room(b) && class < topClass {
				class++
			} else if n < room(b)/16 && class > 0 {
				class--
			}
			werr := c.writeInPlace(b.b, n)
			giveBack(b)
			if werr != nil {
				return werr
			}
			continue
		}
		if b != nil {
			giveBack(b)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// messageWriter writes binary messages.
type messageWriter struct{ c *Conn }

// Write implements io.Writer.
func (w messageWriter) Write(p []byte) (int, error) {
	if err := w.c.WriteMessage(OpBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// room is how many bytes of a stream are read into b, behind the place of a
// header.
func room(b *buffer) int { return min(len(b.b)-maxMaskedHeader, maxStreamMessage) }

// borrowingReader returns a function that reads from r into a lent buffer of
// the class, behind the place of a header. On a TCP connection the buffer is
// lent when bytes are there, not before.
func borrowingReader(r io.Reader) func(class int) (*buffer, int, error) {
	if tcp, ok := r.(*net.TCPConn); ok {
		if read := rawReader(tcp); read != nil {
			return read
		}
	}
	return func(class int) (*buffer, int, error) {
		b := lend(class)
		n, err := r.Read(b.b[maxMaskedHeader : maxMaskedHeader+room(b)])
		if n > 0 {
			err = nil // the next read tells it again
		}
		return b, n, err
	}
}

// writeInPlace sends the n bytes of b that begin behind the place of a header
// as one binary message. It changes them.
func (c *Conn) writeInPlace(b []byte, n int) error {
	size := headerSize(n)
	if c.client {
		size += 4
	}
	start := maxMaskedHeader - size
	frame := b[start : maxMaskedHeader+n]
	c.wmu.Lock()
	defer c.unlock()
	if c.client {
		key := c.keys.next()
		copy(frame[putHeader(frame, OpBinary, n, 0x80):], key[:])
		mask(frame[size:], key)
	} else {
		putHeader(frame, OpBinary, n, 0)
	}
	return c.write(frame)
}

// silence returns how long the reader has been waiting without a byte from the
// other end; 0 while it is busy elsewhere.
func (c *Conn) silence() time.Duration {
	waiting := c.waiting.Load()
	if waiting == 0 {
		return 0
	}
	return time.Since(c.start) - time.Duration(max(waiting, c.lastRead.Load()))
}

// sendPing sends a ping without waiting.
func (c *Conn) sendPing() {
	c.pmu.Lock()
	c.ping = true
	c.pmu.Unlock()
	c.sendControl()
}
