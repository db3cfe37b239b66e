package router

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// Arrivals is how boards get to their sessions.
type Arrivals struct {
	Beginning  int           // on their way, from their upgrade until [Router.Begun] or their end
	Pace       time.Duration // how long those took that got there lately: at least as long as none has, while some are on their way
	Begun      int64         // how many ever got there
	Unfinished int64         // how many ever ended on their way
}

// Arrivals says how boards get to their sessions. Who lets boards in lets no more in
// than are finished soon.
func (r *Router) Arrivals() Arrivals { return r.arrivals.look() }

// arrivals counts.
type arrivals struct {
	beginning, begun, unfinished, pace atomic.Int64              // pace in nanoseconds
	last                               atomic.Pointer[time.Time] // when a board got there last, or the first set out
}

// arrival is a board on its way.
type arrival struct {
	in   *arrivals
	over atomic.Bool
}

func (a *arrivals) look() Arrivals {
	l := Arrivals{Beginning: int(a.beginning.Load()), Pace: time.Duration(a.pace.Load()), Begun: a.begun.Load(), Unfinished: a.unfinished.Load()}
	if last := a.last.Load(); l.Beginning > 0 && last != nil {
		l.Pace = max(l.Pace, time.Since(*last))
	}
	return l
}

// sets is a board that sets out.
func (a *arrivals) sets() *arrival {
	if a.beginning.Add(1) == 1 {
		a.arrives()
	}
	return &arrival{in: a}
}

// arrives notes that a board got there, or that the first is on its way.
func (a *arrivals) arrives() {
	now := time.Now()
	a.last.Store(&now)
}

// begun notes that it got there after some time, unless it has ended.
func (b *arrival) begun(took time.Duration) {
	if b.over.Swap(true) {
		return
	}
	a := b.in
	a.beginning.Add(-1)
	a.begun.Add(1)
	if was := time.Duration(a.pace.Load()); was != 0 {
		took = was + (took-was)/16
	}
	a.pace.Store(int64(took)) // where two meet, one counts
	a.arrives()
}

// ends notes that it is over, whether it got there or not.
func (b *arrival) ends() {
	if !b.over.Swap(true) {
		b.in.beginning.Add(-1)
		b.in.unfinished.Add(1)
	}
}

// Address is where a session comes from: the client's address, as reverse proxies that are believed
// say; invalid where the session has ended.
func (r *Router) Address(s Session) netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.byID[s.ID]; p != nil {
		return p.from
	}
	return netip.Addr{}
}

// Begun says that the cloud has taken a session in. A board may ask for that again:
// only the first time counts.
func (r *Router) Begun(s Session) {
	r.mu.Lock()
	p := r.byID[s.ID]
	if p != nil && p.begun {
		p = nil
	}
	if p != nil {
		p.begun = true
		p.clock.Stop()
		p.clock = nil
	}
	r.mu.Unlock()
	if p != nil {
		p.way.begun(time.Since(p.since))
	}
}

// peer returns the peer of a session, nil if it is not there (any more).
func (r *Router) peer(s Session) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[s.ID]
}

// said notes that a board has asked for its session to begin.
func (r *Router) said(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.clock != nil {
		p.clock.Stop()
	}
}

// begin makes a session of a peer, unless it was closed meanwhile, and tells the
// cloud. Of too many of one board one goes: the oldest that has not begun, since
// the doctor's session and a copy's come and go beside the board's own; where all
// have begun, the oldest. The newest stays, it is the one that is there.
func (r *Router) begin(p *peer, board s4t.BoardID) (id uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.left || r.run != p.run {
		return 0, false
	}
	for id == 0 || r.byID[id] != nil {
		id = 1 + rand.Uint64N(maxID)
	}
	p.welcomed, p.session = true, Session{ID: id, Board: board}
	if !p.evicted {
		r.joined(p.remote)
	}
	p.clock.Stop()
	p.clock = time.AfterFunc(r.sayWithin, func() { p.close(goodbye(wamp.ReasonStale, "the session did not begin in time")) })
	p.pinged = time.Now()
	r.byID[id] = p
	r.watched[id%beats][p] = struct{}{}
	own := r.byBoard[board]
	if len(own) == maxOfBoard {
		goes := max(0, slices.IndexFunc(own, func(o *peer) bool { return !o.begun }))
		own[goes].close(goodbye(wamp.ReasonReplaced, "newer sessions of the board took over"))
		own = slices.Delete(own, goes, goes+1)
	}
	r.byBoard[board] = append(own, p)
	r.cfg.Joined(p.session)
	p.log().Debug("control session begins", "board", board, "session", id)
	return id, true
}

// strike takes a session off the lists. r.mu is held.
func (r *Router) strike(p *peer) {
	delete(r.byID, p.session.ID)
	delete(r.watched[p.session.ID%beats], p)
	own := slices.DeleteFunc(r.byBoard[p.session.Board], func(o *peer) bool { return o == p })
	if len(own) == 0 {
		delete(r.byBoard, p.session.Board)
		return
	}
	r.byBoard[p.session.Board] = own
}
