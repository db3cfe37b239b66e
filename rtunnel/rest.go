package rtunnel

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// Who waits on a line keeps the stack that its last work needed, 8 KiB where
// that was TLS, and an open stream has two who wait at each end. So a goroutine
// that has waited for a while ends, and its connection is put into a lot; when
// something comes, a new goroutine goes on. What is idle costs no stack.

// restAfter is how long a goroutine waits before it ends.
const restAfter = time.Second

// errRest asks who reads to end, and to be woken when something comes.
var errRest = errors.New("rest until something comes")

// sleeper is one who waits for bytes of a connection, and can rest.
type sleeper struct {
	roused  atomic.Bool // the deadline that has passed is ours
	resting atomic.Bool

	lot   *lot   // set before the first read; nil: there is no rest
	place uint64 // in the lot, whose mu guards it
}

// rouse makes who reads from c stop with errRest, unless it rests already.
func (s *sleeper) rouse(c net.Conn) {
	if !s.resting.Load() && !s.roused.Swap(true) {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// heeds reports whether err, of a read from c, is rouse's doing, and readies c
// for the next read.
func (s *sleeper) heeds(c net.Conn, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !s.roused.Load() {
		return false
	}
	c.SetReadDeadline(time.Time{})
	s.roused.Store(false)
	return true
}

// descriptor returns what a lot can wait for; nil if there is none.
func (c *Conn) descriptor() syscall.RawConn {
	if c.bulk != nil {
		return c.bulk.raw
	}
	return c.raw
}

// run reads until the rtunnel ends, and tells the owner.
func (l *line) run() {
	err := l.read()
	if err == errRest {
		l.conn.sleeper.park(l.conn.descriptor(), l.run)
		return
	}
	l.owner.over(l, err)
}

// quieten lays to rest who has waited on l since the last call, and reports
// whether all who can rest did before. Calls are at least restAfter apart,
// and one at a time.
func (l *line) quieten() bool {
	if !canRest || l.conn.descriptor() == nil {
		return true
	}
	quiet := l.conn.sleeper.resting.Load()
	if l.conn.silence() >= restAfter {
		l.conn.sleeper.rouse(l.conn.nc)
	}
	g := l.current()
	if g == nil {
		return quiet
	}
	tcp, ok := g.local.(*net.TCPConn)
	if !ok {
		return quiet
	}
	quiet = quiet && g.sleeper.resting.Load()
	moved := g.moved.Load()
	if moved != 0 && moved == g.seen {
		g.sleeper.rouse(tcp)
	}
	g.seen = moved
	return quiet
}

// manyLines is how many rtunnels, opened one after the other without a pause,
// leave memory behind that is worth the work of giving it back.
const manyLines = 64

// burst gives the memory back that many handshakes took, and the stacks of who
// rests now, when no more come. It is called every second or so.
type burst struct{ before, last int }

// settle is told how many rtunnels there are, and reports whether no more is to
// be done.
func (b *burst) settle(lines int) bool {
	quiet := lines == b.last
	b.last = lines
	if abs(lines-b.before) < manyLines {
		return true
	}
	if quiet {
		b.before = lines
		debug.FreeOSMemory()
	}
	return quiet
}

func abs(n int) int { return max(n, -n) }
