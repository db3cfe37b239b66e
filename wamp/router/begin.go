package router

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// Beginning is how many boards are on their way to a session, from their upgrade
// until [Router.Begun] or their end, and how long those took that got there
// lately: at least as long as none has got there, while some are on their way. Who
// lets boards in lets no more in than are finished soon.
func (r *Router) Beginning() (n int, pace time.Duration) {
	n, pace = int(r.beginning.Load()), time.Duration(r.pace.Load())
	if last := r.arrived.Load(); n > 0 && last != nil {
		pace = max(pace, time.Since(*last))
	}
	return n, pace
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
	if p == nil {
		return
	}
	p.leave()
	took := int64(time.Since(p.since))
	if was := r.pace.Load(); was != 0 {
		took = was + (took-was)/16
	}
	r.pace.Store(took) // where two meet, one counts
	r.arrives()
}

// peer returns the peer of a session, nil if it is not there (any more).
func (r *Router) peer(s Session) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[s.ID]
}

// arrives notes that a board got there, or that the first is on its way.
func (r *Router) arrives() {
	now := time.Now()
	r.arrived.Store(&now)
}

// takePlace counts a board as on its way until leave is called.
func (r *Router) takePlace() (leave func()) {
	if r.beginning.Add(1) == 1 {
		r.arrives()
	}
	return sync.OnceFunc(func() { r.beginning.Add(-1) })
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
