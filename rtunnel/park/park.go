// Package park keeps connections that are idle without a goroutine each.
//
// Who waits for bytes of a connection keeps the stack that its last work
// needed, 8 KiB where that was TLS, and an open stream has two who wait at each
// end. So a goroutine that has waited for a while is interrupted and ends, and
// its connection is parked: a [Poller] waits for all that are. When something
// comes, a new goroutine goes on. What is idle costs no stack.
//
// Lock order: Poller.mu is the last of all; nothing is locked under it.
package park

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// After is how long a goroutine waits before it is worth parking.
const After = time.Second

// ErrParked is what a read returns that was interrupted: its goroutine is to
// end after [Waiter.Park], which goes on when something comes.
var ErrParked = errors.New("parked until something comes")

// Waiter is one who waits for bytes of a connection, and can be parked. The
// zero value is ready to use, once [Waiter.Use] has told it where.
type Waiter struct {
	interrupted atomic.Bool // the deadline that has passed is ours
	parked      atomic.Bool

	poller *Poller // set before the first read; nil: it is never parked
	id     uint64  // in the poller, whose mu guards it
}

// Use says who waits while w is parked. It is called before the first read.
func (w *Waiter) Use(p *Poller) { w.poller = p }

// Poller returns what Use was told.
func (w *Waiter) Poller() *Poller { return w.poller }

// Parked reports whether w is parked now.
func (w *Waiter) Parked() bool { return w.parked.Load() }

// Interrupt makes who reads from c stop, unless it is parked already: the read
// fails with an error that WasInterrupted knows.
func (w *Waiter) Interrupt(c net.Conn) {
	if !w.parked.Load() && !w.interrupted.Swap(true) {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// WasInterrupted reports whether err, of a read from c, is Interrupt's doing,
// and readies c for the next read.
func (w *Waiter) WasInterrupted(c net.Conn, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !w.interrupted.Load() {
		return false
	}
	c.SetReadDeadline(time.Time{})
	w.interrupted.Store(false)
	return true
}
