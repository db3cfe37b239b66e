package cloud

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"
)

const (
	// turnsPerCore is how many turns a second are given for each core, before any
	// boards were counted: as many as a core takes in where all goes well.
	turnsPerCore = 300
	// minTurnsPerCore is the fewest that are given: what this process takes in may be
	// little, where others share its machine, or the database.
	minTurnsPerCore = 4
	// asksPerCore is how many boards a second that are behind the last turn are to ask
	// again, where no more are taken in: to send one away costs a third of a millisecond,
	// and where there is room it comes in.
	asksPerCore = 16
	// tooSoon is by how much turns are given faster than boards come in: one that
	// comes too soon costs both ends a dial that is sent away, turns that come too
	// late leave the cloud idle.
	tooSoon = 1.25
	// awayPerBegin is how many boards that are sent away cost as much as one that is
	// taken in.
	awayPerBegin = 8
	// maxTurn is the latest turn that is given: what is taken in by then is not known.
	// Who is behind it asks again, maxAsk later at the latest.
	maxTurn = 30 * time.Second
	maxAsk  = 10 * time.Minute
	// maxTurnsOfOne is how many turns one source is given in a time of maxTurn or two:
	// more are told to come behind the others, and hold none. A site behind one address has
	// room; a source that wants to keep the others out has not.
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
	first  float64   // rate before any were counted
	least  float64   // that the rate may become
	asks   float64   // boards a second that are behind the last turn, at least
	rate   float64   // boards a second
	next   time.Time // the first turn that nobody has
	behind time.Time // when the next board asks that is told no turn

	holding, held map[netip.Prefix]int // turns that a source was given, since then and in the time before that
	then          time.Time

	since time.Time // of what is counted
	begun int64     // boards whose sessions had begun by then
	sent  int       // away, since then
	pace  float64   // sessions that begin a second, lately; negative: nobody has looked
}

func newTurns() turns {
	cores := float64(runtime.GOMAXPROCS(0))
	return turns{first: turnsPerCore * cores, least: minTurnsPerCore * cores, asks: asksPerCore * cores, rate: turnsPerCore * cores, pace: -1, holding: map[netip.Prefix]int{}}
}

// give gives the next turn to a board of a source: how long it is to stay away.
func (t *turns) give(now time.Time, source netip.Prefix) time.Duration {
	t.sent++
	if t.next.Before(now) {
		if now.Sub(t.next) > forgetAfter {
			t.rate = t.first
		}
		t.next = now
		clear(t.holding)
		clear(t.held)
	}
	if now.Sub(t.then) >= maxTurn {
		t.holding, t.held, t.then = map[netip.Prefix]int{}, t.holding, now
	}
	wait := t.next.Sub(now)
	if t.holding[source]+t.held[source] >= maxTurnsOfOne {
		return wait + rand.N(wait+1)
	}
	t.holding[source]++
	if wait < maxTurn {
		t.next = t.next.Add(every(t.rate))
		return wait
	}
	if last := now.Add(maxTurn); t.behind.Before(last) {
		t.behind = last
	}
	if wait = t.behind.Sub(now); wait >= maxAsk { // not all of them then, as they have come now
		return maxAsk/2 + rand.N(maxAsk/2)
	}
	t.behind = t.behind.Add(every(max(t.rate, t.asks)))
	return wait
}

// every is the time between two of so many a second.
func every(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }

// look looks at the rate; begun is how many boards' sessions ever began. Where boards
// have to be sent away, as many come in as can, whatever it is that they wait for,
// and the rate follows. In a rush much of the time goes into sending away: what could
// have come in instead counts, too. Where all come in that come, more may be able to.
// It follows sooner upward, see tooSoon, and where it is far too high.
func (t *turns) look(now time.Time, begun int64) {
	passed := now.Sub(t.since)
	if passed < countFor {
		return
	}
	came := float64(begun-t.begun) / passed.Seconds()
	if t.pace < 0 {
		t.pace = came
	}
	t.pace = (t.pace + came) / 2
	switch {
	case passed >= 2*countFor: // nobody waited meanwhile
		t.pace = -1
	case t.sent > 0:
		able := tooSoon * (came + float64(t.sent)/awayPerBegin/passed.Seconds())
		follow := 4.0
		if able > t.rate || able < t.rate/2 {
			follow = 2
		}
		t.rate = max(t.rate+(able-t.rate)/follow, t.least)
	case came > 0:
		t.rate = max(t.rate, min(tooSoon*t.rate, t.first))
	}
	t.since, t.begun, t.sent = now, begun, 0
}

// lasts returns how long it takes until n boards have got to their sessions, as they
// begin now: long before the last of them can have said so.
func (t *turns) lasts(n int) (d time.Duration, known bool) {
	if t.pace < 0 {
		return 0, false
	}
	return time.Duration(float64(n) / max(t.pace, 0.1) * float64(time.Second)), true
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
