package rtunnel

import (
	"time"

	"github.com/stack4things/s4t/rtunnel/sockopt"
)

// TryWriteFrames writes p, a run of whole frames that are laid out already, as
// [Conn.WriteFrames] does, but waits for nothing. took says that the frames are
// on their way; without it none of p was written, and the caller comes again
// with WriteFrames. all says that they have left. took without all means that
// the path is full: p must stay as it is until [Conn.Finish] returns or the
// Conn is closed, and Finish should be called soon.
//
// One goroutine at a time may use TryWriteFrames and Finish. Where writing
// cannot be tried, because the connection has no descriptor, it takes nothing.
func (c *Conn) TryWriteFrames(p []byte) (took, all bool, err error) {
	if !c.wmu.TryLock() {
		return false, false, nil
	}
	defer c.unlock()
	if c.sentClose || c.writeGone || c.tail != nil { // WriteFrames waits for the last, and says what is wrong
		return false, false, nil
	}
	switch {
	case c.raw != nil:
		took, all, err = c.tryPlain(p)
	case c.batch != nil && c.batch.raw != nil:
		took, all, err = c.tryTLS(p)
	}
	if err != nil {
		return false, false, c.writeError(err)
	}
	if took {
		c.unsent.wrote(c, len(p))
	}
	return took, all, nil
}

// tryPlain is TryWriteFrames over TCP. The caller holds wmu.
func (c *Conn) tryPlain(p []byte) (took, all bool, err error) {
	n, err := c.out.try(p)
	if err != nil || n == 0 {
		return false, false, err
	}
	if n < len(p) {
		c.tail = p[n:]
	}
	return true, n == len(p), nil
}

// tryTLS is TryWriteFrames over TLS: what is sealed is kept by the recordBatch, and p is
// free at once. The caller holds wmu.
func (c *Conn) tryTLS(p []byte) (took, all bool, err error) {
	if len(p) > maxTry {
		return false, false, nil
	}
	if all, err = c.batch.tryFlush(); err != nil || !all {
		return false, false, err
	}
	c.batch.cork()
	if _, err = c.nc.Write(p); err != nil {
		return false, false, err
	}
	all, err = c.batch.tryUncork()
	return true, all, err
}

// maxTry is the most that TLS seals into one buffer of the top class.
const maxTry = 288 << 10

// Finish waits until what [Conn.TryWriteFrames] took has left.
func (c *Conn) Finish() error {
	c.wmu.Lock()
	defer c.unlock()
	if err := c.finish(); err != nil {
		return c.writeError(err)
	}
	return nil
}

// finish writes what is left of the last try. The caller holds wmu.
func (c *Conn) finish() error {
	if t := c.tail; t != nil {
		c.tail = nil
		return c.out.write(t)
	}
	if c.batch != nil {
		return c.batch.uncork()
	}
	return nil
}

// CarryFrames prepares the connection for the frames of a network, as far as
// the kernel can.
//
// What waits unsent is kept short, so that queues stay where frames can be
// chosen and dropped: to what is sent in about 1 ms, but at least 128 KiB, for
// a fast path needs more to stay busy; and on a slow path that is full to what
// is sent in about 10 ms.
//
// Lost packets are not taken for congestion: with BBR one inner TCP stream gets
// half of what a bare one does at 1 % loss, with CUBIC a hundredth (bench
// -only path).
func (c *Conn) CarryFrames() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.unsent = unsentLimit{on: true}
	c.unsent.set(c, minUnsent)
	sockopt.SetCongestion(c.nc, "bbr") // where it is not to be had, the system's default works too
}

const (
	lowUnsent  = 16 << 10 // of a slow path that is full
	minUnsent  = 128 << 10
	maxUnsent  = 1 << 20
	unsentTime = time.Millisecond
	slowTime   = 10 * time.Millisecond
	rateWindow = 100 * time.Millisecond
	rateStale  = time.Second // a window that was open for longer says nothing
)

// unsentLimit chooses TCP_NOTSENT_LOWAT by the rate of the last window. It is
// guarded by Conn.wmu.
type unsentLimit struct {
	on    bool
	limit int
	since time.Time
	bytes int
	full  bool // the kernel took no more at some time in this window
}

// wrote counts n bytes.
func (u *unsentLimit) wrote(c *Conn, n int) {
	if !u.on {
		return
	}
	u.bytes += n
	u.full = u.full || c.wasFull()
	if !u.full && u.limit == minUnsent && u.bytes < minUnsent/2 { // too little to matter, at whatever rate
		return
	}
	now := time.Now()
	window := now.Sub(u.since)
	if window < rateWindow {
		return
	}
	limit := minUnsent
	if window <= rateStale {
		rate := float64(u.bytes) / window.Seconds()
		for limit < int(rate*unsentTime.Seconds()) && limit < maxUnsent {
			limit *= 2
		}
		for u.full && limit > int(rate*slowTime.Seconds()) && limit > lowUnsent {
			limit /= 2
		}
	}
	u.since, u.bytes, u.full = now, 0, false
	if limit != u.limit {
		u.set(c, limit)
	}
}

// wasFull reports whether the kernel took no more since the last time it was
// asked.
func (c *Conn) wasFull() bool {
	full := c.out.full
	c.out.full = false
	if c.batch != nil {
		c.batch.mu.Lock()
		defer c.batch.mu.Unlock()
		full = full || c.batch.out.full
		c.batch.out.full = false
	}
	return full
}

// set tells the kernel. A kernel that has no such option works without.
func (u *unsentLimit) set(c *Conn, limit int) {
	u.limit = limit
	sockopt.SetNotSentLowAt(c.nc, limit)
}
