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
	// boards were counted: as many as a core takes in where all goes well.
	turnsPerCore = 300
	// minTurnsPerCore is the fewest that are given.
	minTurnsPerCore = 50
	// tooSoon is by how much turns are given faster than boards come in: one that
	// comes too soon costs both ends a dial that is sent away, turns that come too
	// late leave the cloud idle.
	tooSoon = 1.25
	// awayPerBegin is how many boards that are sent away cost as much as one that is
	// taken in.
	awayPerBegin = 8
	// maxTurn is the latest turn that is given. Who is behind it asks again.
	maxTurn = 2 * time.Minute
	// maxTurnsOfOne is how many turns that are to come one source may hold: more
	// are told the last, and hold none. A site behind one address has room; a source
	// that wants to keep the others out has not.
	maxTurnsOfOne = 512
	// countFor is how long boards are counted for the rate to be looked at.
	countFor = time.Second
	// forgetAfter is how long after the last turn what was counted is forgotten: the
	// next crowd may find the machine less busy.
	forgetAfter = time.Minute
)

// turns say when a board that was sent away is to come back: each at a moment of
// its own, so many a second as come in.
type turns struct {
	first   float64              // rate before any were counted
	least   float64              // that the rate may become
	rate    float64              // boards a second
	next    time.Time            // the first turn that nobody has
	holding map[netip.Prefix]int // turns that a source has, since there were none

	since          time.Time // of what is counted
	admitted, sent int       // in, and sent away, since then
}

func newTurns() turns {
	cores := float64(runtime.GOMAXPROCS(0))
	return turns{first: turnsPerCore * cores, least: minTurnsPerCore * cores, rate: turnsPerCore * cores, holding: map[netip.Prefix]int{}}
}

// give gives the next turn to a board of a source: how long it is to stay away.
func (t *turns) give(now time.Time, source netip.Prefix) time.Duration {
	t.count(now)
	t.sent++
	if t.next.Before(now) {
		if now.Sub(t.next) > forgetAfter {
			t.rate = t.first
		}
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
// can, and the rate follows. In a rush much of the time goes into sending away:
// what could have come in instead counts, too. It follows sooner upward: see tooSoon.
func (t *turns) count(now time.Time) {
	passed := now.Sub(t.since)
	if passed < countFor {
		return
	}
	if t.sent > 0 && passed < 2*countFor {
		able := tooSoon * (float64(t.admitted) + float64(t.sent)/awayPerBegin) / passed.Seconds()
		follow := 4.0
		if able > t.rate {
			follow = 2
		}
		t.rate = max(t.rate+(able-t.rate)/follow, t.least)
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
