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
	// adaptEvery is how often the number is looked at.
	adaptEvery = 100 * time.Millisecond
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
	// beginning says how many boards are past their handshake, on their way to a
	// session, and how long those took that got there lately; nil: none are.
	beginning func() (n int, pace time.Duration)
	now       func() time.Time
	unread    unread

	mu      sync.Mutex // guards the fields below
	limit   int        // of those on their way, between minBeginning and maxBeginning
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
	return &gate{now: time.Now, limit: 4 * minBeginning, inside: map[net.Conn]netip.Prefix{}, sources: map[netip.Prefix]int{}, waits: map[netip.Prefix]int{}, turns: newTurns()}
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
	beginning := 0
	if g.beginning != nil {
		var pace time.Duration
		beginning, pace = g.beginning()
		g.adapt(beginning+len(g.inside), pace)
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		n := beginning + len(g.inside)
		switch {
		case n < g.limit, n < 2*g.limit && g.sources[w.source] == 0:
			if sockopt.Left(w.conn) { // nothing is computed for who is gone
				g.gone(w)
				w.enter <- false
				return true
			}
			g.inside[w.conn] = w.source
			g.sources[w.source]++
			g.turns.came(g.now())
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

// adapt has fewer in where they take long, and more where they do not and there
// were as many as may. g.mu is held.
func (g *gate) adapt(n int, pace time.Duration) {
	now := g.now()
	if now.Sub(g.adapted) < adaptEvery {
		return
	}
	g.adapted = now
	switch {
	case pace > badPace:
		g.limit = max(minBeginning, g.limit*7/8)
	case pace < goodPace && n >= g.limit:
		g.limit = min(maxBeginning, g.limit+minBeginning/2)
	}
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
