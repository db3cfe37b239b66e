package cloud

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"runtime"
	"time"
)

const (
	// turnsPerCore is how many turns a second are given for each core, before any
	// boards were counted: more than a core takes in. A turn that comes too soon
	// costs both ends a dial that is sent away, a tenth of one that is taken in; turns
	// that come too late leave the cloud idle.
	turnsPerCore = 300
	// maxTurn is the latest turn that is given. Who is behind it asks again.
	maxTurn = 2 * time.Minute
	// maxTurnsOfOne is how many turns that are to come one source may hold: more
	// are told the last, and hold none. A site behind one address has room; a source
	// that wants to keep the others out has not.
	maxTurnsOfOne = 512
	// countFor is how long boards are counted for the rate to be looked at.
	countFor = 2 * time.Second
)

// turns say when a board that was sent away is to come back: each at a moment of
// its own, so many a second as come in.
type turns struct {
	first   float64              // rate before any were counted
	rate    float64              // boards a second
	next    time.Time            // the first turn that nobody has
	holding map[netip.Prefix]int // turns that a source has, since there were none

	since          time.Time // of what is counted
	admitted, sent int       // in, and sent away, since then
}

func newTurns() turns {
	first := float64(turnsPerCore * runtime.GOMAXPROCS(0))
	return turns{first: first, rate: first, holding: map[netip.Prefix]int{}}
}

// give gives the next turn to a board of a source: how long it is to stay away.
func (t *turns) give(now time.Time, source netip.Prefix) time.Duration {
	t.count(now)
	t.sent++
	if t.next.Before(now) {
		t.next = now
		clear(t.holding)
	}
	wait := t.next.Sub(now)
	if wait >= maxTurn || t.holding[source] >= maxTurnsOfOne {
		return min(wait, maxTurn)
	}
	t.holding[source]++
	t.next = t.next.Add(time.Duration(float64(time.Second) / t.rate))
	return wait
}

// came counts a board that was let in.
func (t *turns) came(now time.Time) {
	t.count(now)
	t.admitted++
}

// count looks at the rate: where boards have to be sent away, as many come in as
// can, and the rate follows. It is never below the first: what is seen in a rush,
// when the time goes into sending away, is little.
func (t *turns) count(now time.Time) {
	passed := now.Sub(t.since)
	if passed < countFor {
		return
	}
	if t.sent > 0 && passed < 2*countFor {
		seen := float64(t.admitted) / passed.Seconds()
		t.rate = max(t.rate+(seen-t.rate)/4, t.first)
	}
	t.since, t.admitted, t.sent = now, 0, 0
}

// sendAway tells a board on a connection that nothing was answered on yet when it
// may come again, in plain HTTP: for TLS there is no time, and its alerts carry
// none. Boards understand it (package dial); whoever could forge it could as
// well cut the connection.
func sendAway(c net.Conn, after time.Duration) {
	for {
		u, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = u.NetConn()
	}
	c.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(c, fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", max(1, int(math.Ceil(after.Seconds())))))
}
