package stream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/park"
)

// streamConn is one end of an rtunnel with [rtunnel.SubprotocolStreams], which
// carries streams one after another. One goroutine, in read, moves the bytes of
// one direction; while a stream is open a second, in pump, moves those of the
// other. One on which nothing moves holds neither buffers nor goroutines: see
// package park. The owner is called without mu.
type streamConn struct {
	conn  *rtunnel.Conn
	owner owner
	in    inflow // of the stream now open; the reader's

	mu  sync.Mutex // guards the fields below
	end *localEnd  // the stream now open or being opened; nil: idle
}

// owner is told by the reader of a streamConn. Each call may block the reader.
type owner interface {
	control(sc *streamConn, m control) error // a message that sc does not handle itself
	over(sc *streamConn, err error)          // the rtunnel has ended, and sc with it
	idle(sc *streamConn)                     // a stream has ended and sc can carry the next
}

// localEnd is the end of a stream on this side of the rtunnel.
type localEnd struct {
	local HalfCloser
	by    string                                     // at the board: what it is open by, see [PoolConfig.Connect]
	admit func() error                               // at the tunnel agent: called by the reader before bytes flow; may be nil
	open  bool                                       // bytes may come; set by the reader
	note  func(way Way, n int, done <-chan struct{}) // PoolConfig.Moved; may be nil
	done  chan struct{}                              // closed when both directions have ended
	ended func(error)                                // called by pump after done; may be nil
	err   error                                      // why the stream broke, nil for a clean end; valid after done

	readEnded, writeEnding, writeEnded bool // the other end sent eof; we are about to send it; it is sent

	waiter park.Waiter   // pump
	moved  atomic.Uint32 // counts what pump reads from local, from 1 on; 0: it has not begun
	seen   uint32        // of moved, by parkIdle
}

// moving tells of bytes that have moved.
func (e *localEnd) moving(way Way, n int) {
	if e.note != nil {
		e.note(way, n, e.done)
	}
}

// read moves messages until the rtunnel ends. Whatever stream is open then is
// broken: its local end is reset. It returns why, io.EOF after a normal close.
func (sc *streamConn) read() error {
	defer sc.in.reset()
	for {
		var op rtunnel.Opcode
		var p []byte
		err := sc.splice()
		if err == nil {
			op, p, err = sc.conn.ReadMessage()
		}
		if err == nil {
			err = sc.take(op, p)
		}
		if err == park.ErrParked {
			return err
		}
		if err != nil {
			sc.broken(err)
			sc.conn.Close()
			return err
		}
	}
}

// take handles one message.
func (sc *streamConn) take(op rtunnel.Opcode, p []byte) error {
	if op == rtunnel.OpBinary {
		end := sc.current()
		if end == nil || !end.open || end.readEnded {
			return streamError("bytes came outside a stream")
		}
		if _, err := end.local.Write(p); err != nil {
			sc.reset()
			return err
		}
		sc.in.Note(len(p))
		end.moving(Received, len(p))
		return nil
	}
	m, err := parseControl(p)
	switch {
	case err != nil:
		return err
	case m.Reset != nil:
		return errReset
	case m.EOF == nil:
		return sc.owner.control(sc, m)
	}
	end := sc.current()
	if end == nil || !end.open || end.readEnded {
		return streamError("eof came outside a stream")
	}
	sc.in.reset()
	end.local.CloseWrite() // an error means that nobody listens there any more: pump sees it
	sc.settle(end, func() { end.readEnded = true })
	return nil
}

// current returns the local end of the stream. Its fields open and readEnded
// belong to the reader.
func (sc *streamConn) current() *localEnd {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.end
}

// ending returns a channel that closes when the stream has ended, if only our
// own end of it does not know yet: the other end has read our eof and may ask
// for the next stream before pump comes to note that it was sent.
func (sc *streamConn) ending() <-chan struct{} {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if end := sc.end; end != nil && end.readEnded && end.writeEnding {
		return end.done
	}
	return nil
}

// begin makes end that of the stream of sc. It returns false if there is one
// already.
func (sc *streamConn) begin(end *localEnd) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.end != nil {
		return false
	}
	sc.end = end
	end.waiter.Use(sc.conn.Poller())
	return true
}

// admit opens end for bytes. It returns false if that is done already, or end is
// no longer that of the stream of sc.
func (sc *streamConn) admit(end *localEnd) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.end != end || end.open {
		return false
	}
	end.open = true
	return true
}

// drop takes end off sc, without closing it, and reports whether bytes could come
// already.
func (sc *streamConn) drop(end *localEnd) (open bool) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.end == end {
		sc.end = nil
	}
	return end.open
}

// pump moves bytes from the local end to the rtunnel until the local end has
// no more, then sends eof, and waits for the end of the stream.
func (sc *streamConn) pump(end *localEnd) {
	end.moved.CompareAndSwap(0, 1)
	err := copyIn(sc.conn, end)
	if tcp, ok := end.local.(*net.TCPConn); ok && end.waiter.WasInterrupted(tcp, err) {
		if raw, e := tcp.SyscallConn(); e == nil {
			end.waiter.Park(raw, func() { sc.pump(end) })
			return
		}
	}
	sc.pumped(end, err)
	<-end.done
	if end.ended != nil {
		end.ended(end.err)
	}
}

// pumped is the end of pump: err is why the local end has no more.
func (sc *streamConn) pumped(end *localEnd, err error) {
	if err == nil {
		sc.settle(end, func() { end.writeEnding = true })
		err = control{EOF: set}.send(sc.conn)
	}
	if err != nil {
		sc.broken(err)
		sc.reset()
		sc.conn.Close() // ends read, too
		return
	}
	sc.settle(end, func() { end.writeEnded = true })
}

// settle notes progress of end; when both directions have ended, sc is idle
// again.
func (sc *streamConn) settle(end *localEnd, note func()) {
	sc.mu.Lock()
	note()
	over := end.readEnded && end.writeEnded && sc.end == end
	if over {
		sc.end = nil
	}
	sc.mu.Unlock()
	if over {
		end.local.Close()
		sc.owner.idle(sc)
		close(end.done)
	}
}

// broken ends the stream that is open, if one is, with a reset of its local
// end. Who knows why calls it before the other end or the reader hears of it: they
// would say only that the rtunnel was closed.
func (sc *streamConn) broken(err error) {
	sc.mu.Lock()
	end := sc.end
	sc.end = nil
	sc.mu.Unlock()
	if end == nil {
		return
	}
	end.err = err
	if end.open { // else another rtunnel may carry it
		abort(end.local)
		end.waiter.Wake()
	}
	close(end.done)
}

// shut ends the rtunnel and the stream on it from outside.
func (sc *streamConn) shut(err error) {
	sc.broken(err)
	sc.conn.Close()
}

// reset tells the other end that the stream is broken, waiting a moment at
// most. The rtunnel is to be closed after it.
func (sc *streamConn) reset() {
	sc.conn.NetConn().SetWriteDeadline(time.Now().Add(rtunnel.CloseWait))
	control{Reset: set}.send(sc.conn) // who cannot be told sees the cut
}

// breakOff ends a stream from outside: both ends see a reset.
func (sc *streamConn) breakOff(end *localEnd, err error) {
	if sc.current() != end {
		return
	}
	sc.broken(err)
	sc.reset()
	sc.conn.Close()
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

// copyIn moves bytes from the local end to c as binary messages until there are no
// more.
func copyIn(c *rtunnel.Conn, end *localEnd) error {
	if s, ok := end.local.(*Stream); ok {
		_, err := s.WriteTo(messageWriter{c})
		return err
	}
	sender := rtunnel.NewSender(c, end.local)
	var bulk rtunnel.Bulkiness
	spliced := true // as far as it is known
	for {
		end.moved.Add(1)
		if bulk.Enough() && spliced {
			var err error
			if spliced, err = spliceIn(c, end, &bulk); err != nil {
				if err == io.EOF {
					err = nil
				}
				return err
			}
		}
		n, err := sender.Send()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n > 0:
			bulk.Note(n)
			end.moving(Sent, n)
		}
	}
}

// messageWriter writes binary messages.
type messageWriter struct{ c *rtunnel.Conn }

// Write implements io.Writer.
func (w messageWriter) Write(p []byte) (int, error) {
	if err := w.c.WriteMessage(rtunnel.OpBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
