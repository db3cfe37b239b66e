package rtunnel

import (
	"net"
	"syscall"

	"github.com/stack4things/s4t/rtunnel/park"
)

// ParkWith says who waits for bytes while nobody reads from c, because it was
// interrupted. It is called before the first read.
func (c *Conn) ParkWith(p *park.Poller) { c.waiter.Use(p) }

// Poller returns what ParkWith was told.
func (c *Conn) Poller() *park.Poller { return c.waiter.Poller() }

// CanPark reports whether c can be parked: it needs a descriptor.
func (c *Conn) CanPark() bool { return park.Supported && c.descriptor() != nil }

// ParkEagerly makes [Conn.ReadMessage] return [park.ErrParked] as soon as nothing is
// there to read, and never wait: for connections on which little comes, so that
// no goroutine lingers. c must be one that CanPark. It is called before the first
// read.
func (c *Conn) ParkEagerly() {
	c.eager = true
	if c.batch != nil {
		c.batch.eager = true
	}
}

// errNothing is a read that found nothing and was not to wait. To crypto/tls it is
// an error that passes, as an expired deadline is.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing is there to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Interrupt makes [Conn.ReadMessage] return [park.ErrParked] if it is waiting
// between messages, unless c is parked already. That is not the end of reading:
// who read calls Park.
func (c *Conn) Interrupt() { c.waiter.Interrupt(c.nc) }

// Park calls wake, in a goroutine of its own, when there is something to read
// or c was closed.
func (c *Conn) Park(wake func()) { c.waiter.Park(c.descriptor(), wake) }

// Parked reports whether c is parked.
func (c *Conn) Parked() bool { return c.waiter.Parked() }

// descriptor returns what a Poller can wait for; nil if there is none.
func (c *Conn) descriptor() syscall.RawConn {
	if c.batch != nil {
		return c.batch.raw
	}
	return c.raw
}
