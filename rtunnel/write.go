package rtunnel

import (
	"github.com/stack4things/s4t"
)

const writeOp = "write to the rtunnel"

// WriteMessage sends p as one text or binary message. p is not changed. It is
// safe for concurrent use. Many messages for one write are laid out by a [Layout].
func (c *Conn) WriteMessage(op Opcode, p []byte) error {
	b := lendFor(len(p) + maxMaskedHeader)
	defer giveBack(b)
	c.wmu.Lock()
	defer c.unlock()
	return c.write(b.b[:putFrame(b.b, op, p, c.keys)])
}

// WriteFrames writes p, a run of whole frames that are laid out already: by a
// [Layout], or by [PutHeader] at a server's end, which does not mask. It is safe
// for concurrent use.
func (c *Conn) WriteFrames(p []byte) error {
	c.wmu.Lock()
	defer c.unlock()
	return c.write(p)
}

// write sends bytes of frames. The caller holds wmu.
func (c *Conn) write(p []byte) error {
	if c.sentClose || c.writeGone {
		return s4t.Errorf(s4t.Unavailable, writeOp, "", "%w", errClosed)
	}
	if c.tail != nil || c.batch != nil {
		if err := c.finish(); err != nil {
			return c.writeError(err)
		}
	}
	if err := c.writeAll(p); err != nil {
		return c.writeError(err)
	}
	c.unsent.wrote(c, len(p))
	return nil
}

// writeError turns an error of the connection into what callers see.
func (c *Conn) writeError(err error) error {
	if cause := c.cause.Load(); cause != nil {
		return cause
	}
	return s4t.Errorf(s4t.Unavailable, writeOp, "", "%w", err)
}

// oneRecord is about what TLS sends as one record anyway.
const oneRecord = 16 << 10

// writeAll writes p, over TLS with one system call.
func (c *Conn) writeAll(p []byte) error {
	if c.batch == nil || len(p) <= oneRecord {
		return c.out.write(p)
	}
	c.batch.cork()
	_, err := c.nc.Write(p)
	if uerr := c.batch.uncork(); err == nil {
		err = uerr
	}
	return err
}

// writeControl sends a control frame. The caller holds wmu.
func (c *Conn) writeControl(op Opcode, p []byte) error {
	var b [maxMaskedHeader + maxControl]byte
	err := c.write(b[:putFrame(b[:], op, p, c.keys)])
	if op == OpClose {
		c.sentClose = true
	}
	return err
}

// sendControl sends the control frames that are due without making the caller
// wait: neither the reader, which a peer that does not read would stop then,
// nor Keepalive.
func (c *Conn) sendControl() {
	c.pending.Store(true)
	c.pmu.Lock()
	defer c.pmu.Unlock()
	if c.over {
		return
	}
	c.senders++
	go func() {
		c.flushControl()
		c.pmu.Lock()
		defer c.pmu.Unlock()
		c.senders--
		c.ended.Broadcast()
	}()
}

// unlock lets go of wmu and sends the control frames that came due meanwhile.
func (c *Conn) unlock() {
	c.wmu.Unlock()
	if c.pending.Load() {
		c.flushControl()
	}
}

// flushControl sends the control frames that are due, unless somebody is
// writing: who writes calls it at the end, after letting go of wmu, so none is
// forgotten.
func (c *Conn) flushControl() {
	for c.pending.Load() && c.wmu.TryLock() {
		c.pending.Store(false)
		c.pmu.Lock()
		ping, pong := c.ping, c.pong
		c.ping, c.pong = false, nil
		c.pmu.Unlock()
		// An error is not reported here: the next read or write meets it.
		if pong != nil {
			c.writeControl(OpPong, pong)
		}
		if ping {
			c.writeControl(OpPing, nil)
		}
		c.wmu.Unlock()
	}
}
