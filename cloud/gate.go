package cloud

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/wamp/router"
)

const (
	// minBeginning and maxBeginning are how many boards may be on their way to a
	// session at a time, in their handshake or past it: so many that what is taken
	// is finished within goodPace, and no longer than badPace, however slow this
	// machine is now or the boards' links are. Who comes from a source that has
	// none inside may come in until there are twice as many: one source that
	// dawdles keeps no other out.
	minBeginning = 16
	maxBeginning = 256
	goodPace     = 700 * time.Millisecond
	badPace      = 1500 * time.Millisecond
	// leastBeginning is how many they may be where minBeginning take longer than
	// slowPace: many agents share a machine, or a database. Those in would give up
	// before they are finished.
	leastBeginning = 2
	slowPace       = 3 * time.Second
	// usualBeginning is up to how many they may become at less than badPace: boards' links
	// may be what takes long.
	usualBeginning = 64
	// firstBeginning is how many they may be at first. It is not known then how many others
	// let boards in to the same database.
	firstBeginning = 4
	// adaptEvery is how often the number is looked at, adaptSlow how often it goes
	// down from minBeginning: few arrive then to say how it is.
	adaptEvery = 100 * time.Millisecond
	adaptSlow  = 500 * time.Millisecond
	// maxMore is by how many more it is at a time.
	maxMore = 8
	// maxWaiting is how many more may wait for their turn, for waitTime at most: a
	// board takes a longer silence for a path that drops big packets, and tries
	// again in vain. Who finds no room is sent away, for almost nothing.
	maxWaiting = 256
	waitTime   = 600 * time.Millisecond
	// lookAgain is how often it is looked whether there is room.
	lookAgain = 5 * time.Millisecond
)

// gate is in front of the TLS handshakes of boards that want a session: it lets
// in as many as this process finishes. Users and rtunnels pass: they are told by
// the protocols that they offer (see handshakes.admit), and live sessions are
// past it.
type gate struct {
	// arrivals says how boards get to their sessions that are past their handshake;
	// nil: none do.
	arrivals func() router.Arrivals
	now      func() time.Time
	unread   unread

	mu      sync.Mutex // guards the fields below
	limit   int        // of those on their way, between leastBeginning and maxBeginning
	adapted time.Time
	inside  map[net.Conn]netip.Prefix // handshakes, with their sources
	sources map[netip.Prefix]int      // how many those are
	waiting []*waiter                 // who came first comes first
	waits   map[netip.Prefix]int      // how many of each source those are
	looking bool                      // look is to be called
	away    int64                     // how many were ever sent away
	turns   turns                     // of those that are sent away
}

// waiter is a board that waits in front of the gate.
type waiter struct {
	conn   net.Conn
	source netip.Prefix
	since  time.Time
	enter  chan bool // of capacity 1: whether it may
}

func newGate() *gate {
	return &gate{now: time.Now, limit: firstBeginning, inside: map[net.Conn]netip.Prefix{}, sources: map[netip.Prefix]int{}, waits: map[netip.Prefix]int{}, turns: newTurns()}
}

// busy sends a board away that finds no room, with a turn, and is the error that
// ends its handshake.
func (g *gate) busy(c net.Conn, source netip.Prefix) error {
	g.mu.Lock()
	after := g.turns.give(g.now(), source)
	g.away++
	g.mu.Unlock()
	sendAway(c, after)
	return s4t.Errorf(s4t.Unavailable, "begin TLS", "", "too many boards are on their way").After(after)
}

// sentAway is how many boards were ever sent away with a turn.
func (g *gate) sentAway() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.away)
}

// enter returns when a board may begin its handshake, and an error where it is
// to go away. Whoever was let in is inside until leave.
func (g *gate) enter(ctx context.Context, c net.Conn, source netip.Prefix) error {
	w := &waiter{conn: c, source: source, since: g.now(), enter: make(chan bool, 1)}
	g.mu.Lock()
	if !g.room(source, 0) {
		g.mu.Unlock()
		return g.busy(c, source)
	}
	g.waiting = append(g.waiting, w)
	g.waits[source]++
	g.admit()
	g.mu.Unlock()
	select {
	case ok := <-w.enter:
		if !ok {
			return g.busy(c, source)
		}
		return nil
	case <-ctx.Done():
		g.mu.Lock()
		if i := slices.Index(g.waiting, w); i >= 0 {
			g.waiting = slices.Delete(g.waiting, i, i+1)
			g.gone(w)
		}
		g.mu.Unlock()
		g.leave(c)
		return ctx.Err()
	}
}

// room reports whether a board of a source may wait, when so many come before it. g.mu
// is held.
func (g *gate) room(source netip.Prefix, coming int) bool {
	return len(g.waiting)+coming < maxWaiting || g.makeRoom(source)
}

// makeRoom sends the last of the source away that has the most who wait, where
// that are more than another source has: one cannot keep the others out. g.mu is
// held.
func (g *gate) makeRoom(source netip.Prefix) bool {
	if len(g.waits) == len(g.waiting) { // one of each: in a crowd of many sources that is all that is looked at
		return false
	}
	most := source
	for s, k := range g.waits {
		if k > g.waits[most] {
			most = s
		}
	}
	if g.waits[most] <= g.waits[source]+1 {
		return false
	}
	for i := len(g.waiting) - 1; ; i-- {
		if w := g.waiting[i]; w.source == most {
			w.enter <- false
			g.gone(w)
			g.waiting = slices.Delete(g.waiting, i, i+1)
			return true
		}
	}
}

// gone notes that somebody waits no longer. g.mu is held.
func (g *gate) gone(w *waiter) {
	if g.waits[w.source]--; g.waits[w.source] == 0 {
		delete(g.waits, w.source)
	}
}

// admit lets in who may, and sends away who has waited for too long. g.mu is
// held.
func (g *gate) admit() {
	var a router.Arrivals
	if g.arrivals != nil {
		a = g.arrivals()
	}
	g.turns.look(g.now(), a.Begun)
	g.adapt(a)
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		n := a.Beginning + len(g.inside)
		switch {
		case n < g.limit, n < 2*g.limit && g.sources[w.source] == 0:
			if sockopt.Left(w.conn) { // nothing is computed for who is gone
				g.gone(w)
				w.enter <- false
				return true
			}
			g.inside[w.conn] = w.source
			g.sources[w.source]++
			w.enter <- true
		case g.now().Sub(w.since) >= waitTime:
			w.enter <- false
		default:
			return false
		}
		g.gone(w)
		return true
	})
	if len(g.waiting) > 0 && !g.looking {
		g.looking = true
		time.AfterFunc(lookAgain, g.look)
	}
}

// adapt has fewer in where they take long, and more where they do not, and there were
// as many as may. g.mu is held.
func (g *gate) adapt(a router.Arrivals) {
	now, n := g.now(), a.Beginning+len(g.inside)
	passed := now.Sub(g.adapted)
	if passed < adaptEvery {
		return
	}
	pace, known := g.turns.lasts(n)
	pace = max(pace, a.Pace)
	switch {
	case pace > badPace && g.limit > minBeginning:
		g.limit = max(minBeginning, g.limit*7/8)
	case pace > slowPace:
		if passed < adaptSlow {
			return
		}
		g.limit = max(leastBeginning, g.limit*7/8)
	case known && (pace < goodPace || pace < badPace && g.limit < usualBeginning) && n >= g.limit:
		g.limit = min(maxBeginning, g.limit+min(max(g.limit/4, 1), maxMore))
	}
	g.adapted = now
}

// look looks whether somebody may come in now.
func (g *gate) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looking = false
	g.admit()
}

// leave notes that a connection's handshake is done, or has failed. Others it does
// not know.
func (g *gate) leave(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	source, ok := g.inside[c]
	if !ok {
		return
	}
	delete(g.inside, c)
	if g.sources[source]--; g.sources[source] == 0 {
		delete(g.sources, source)
	}
	if len(g.waiting) > 0 {
		g.admit()
	}
}
