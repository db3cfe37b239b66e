package rtunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/park"
)

// Conn is one end of a WebSocket after its handshake. One goroutine at a time
// may read; any number may write. Close it when done with it.
//
// Lock order: wmu, the lock of TLS for writing, recordBatch.mu; and wmu, pmu.
// Nobody calls out of this package under any of them.
type Conn struct {
	nc     net.Conn
	batch  *recordBatch // under the TLS of nc; may be nil
	client bool
	start  time.Time // what the times below count from

	// Read side: owned by the goroutine that reads.
	raw     syscall.RawConn // nil where the connection has no descriptor (TLS, net.Pipe)
	tryRead func(fd uintptr) bool
	readN   int   // what tryRead read
	readErr error // why it could not
	buf     *buffer
	r, w    int // the unread bytes are buf.b[r:w]
	class   int // class of the buffer to lend next
	first   [64]byte
	limit   int    // bytes of a message that ReadMessage takes
	eager   bool   // reading ends when nothing is there; see ParkEagerly
	msg     []byte // a message in fragments so far
	msgOp   Opcode // of that message; 0: none is begun
	failed  error  // what ended reading; every later read returns it

	waiter   park.Waiter  // who reads; see ParkWith
	lastRead atomic.Int64 // when bytes came last, in nanoseconds since start
	waiting  atomic.Int64 // since when a read has been waiting; 0: none is

	wmu       sync.Mutex // held while writing; guards the fields below
	keys      *keys      // of the client; nil: a server, which does not mask
	sentClose bool
	writeGone bool   // a message was cut in the middle: nothing can follow
	tail      []byte // what a try has left to write before anything else; see TryWriteFrames
	out       rawWriter
	unsent    unsentLimit

	pending atomic.Bool // there is a control frame to send; see flushControl
	pmu     sync.Mutex  // guards the fields below
	ping    bool
	pong    []byte // payload of the pong to send, nil: none
	senders int    // goroutines that send control frames
	over    bool   // Close was called: no more of them
	ended   *sync.Cond

	cause     atomic.Pointer[s4t.Error]
	closeOnce sync.Once
	closeErr  error
}

// NewConn returns the Conn over c, on which the WebSocket handshake is done.
// buffered are bytes that were read from c past the handshake; they are
// copied. client says that this end opened the connection: it masks and its
// peer must not; a server's peer must. The Conn owns c from now on. On a plain
// TCP connection c's own Read must no longer be used.
func NewConn(c net.Conn, buffered []byte, client bool) *Conn {
	conn := &Conn{nc: c, batch: batchUnder(c), client: client, limit: s4t.MaxMessage, start: time.Now(), out: rawWriter{nc: c}}
	conn.ended = sync.NewCond(&conn.pmu)
	if client {
		conn.keys = newKeys()
	}
	if len(buffered) > 0 {
		conn.buf = lendFor(len(buffered))
		conn.w = copy(conn.buf.b, buffered)
	}
	conn.initRaw()
	return conn
}

// NetConn returns the connection underneath, for its addresses and socket
// options.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close ends the connection at once, without a close frame. A blocked read or
// write returns. It may be called more than once and from any goroutine.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.nc.Close() })
	c.waiter.Wake()
	c.pmu.Lock()
	defer c.pmu.Unlock()
	c.over = true
	for c.senders > 0 {
		c.ended.Wait()
	}
	return c.closeErr
}

// CloseWait bounds the sending of a close frame, and of what else is said last.
const CloseWait = time.Second

// CloseWithStatus sends a close frame, waiting a second at most, and closes.
// code is one of the Status constants; reason, for the peer's log, is cut at
// 123 bytes.
func (c *Conn) CloseWithStatus(code uint16, reason string) error {
	return errors.Join(c.SayClose(code, reason), c.Close())
}

// SayClose is CloseWithStatus that leaves the connection open for the peer to
// close: where bytes that it sent are still unread, closing first resets the
// connection, and what was said last is lost. Nothing can be written after it.
func (c *Conn) SayClose(code uint16, reason string) error {
	reason = reason[:min(len(reason), maxControl-2)]
	// Also unblocks a writer that a stopped peer holds.
	c.nc.SetWriteDeadline(time.Now().Add(CloseWait))
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.writeControl(OpClose, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

// Keepalive pings every interval and fails the connection when a read has been
// waiting and nothing has come for timeout. It returns nil when ctx ends, and
// the error (kind Timeout) after it closed the connection. Somebody must be
// reading, or pongs are not seen; a reader that is busy elsewhere, because it
// waits for a slow receiver, does not count as silence of the peer.
func (c *Conn) Keepalive(ctx context.Context, interval, timeout time.Duration) error {
	for {
		c.Ping()
		next := time.NewTimer(min(interval, timeout-c.Silence()))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
		if silent := c.Silence(); silent >= timeout {
			err := s4t.Errorf(s4t.Timeout, "keep the rtunnel alive", "the path to the other end is cut, or it stopped", "nothing came for %v", silent.Round(time.Millisecond))
			c.cause.CompareAndSwap(nil, err)
			c.Close()
			return err
		}
	}
}

// Idle returns how long nothing has come from the peer.
func (c *Conn) Idle() time.Duration {
	return time.Since(c.start) - time.Duration(c.lastRead.Load())
}

// Silence returns how long the reader has been waiting without a byte from the
// peer; 0 while it is busy elsewhere.
func (c *Conn) Silence() time.Duration {
	waiting := c.waiting.Load()
	if waiting == 0 {
		return 0
	}
	return time.Since(c.start) - time.Duration(max(waiting, c.lastRead.Load()))
}

// Ping sends a ping without waiting.
func (c *Conn) Ping() {
	c.pmu.Lock()
	c.ping = true
	c.pmu.Unlock()
	c.sendControl()
}

var errClosed = errors.New("this direction of the rtunnel is closed")

// readError turns an error of the connection into what callers see: io.EOF
// stays io.EOF only after a close frame, a cut is io.ErrUnexpectedEOF.
func (c *Conn) readError(err error) error {
	if cause := c.cause.Load(); cause != nil {
		return cause
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return s4t.Errorf(s4t.Unavailable, readOp, "", "%w", err)
}
