package router

import (
	"slices"
	"sync"
	"time"

	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t/wamp"
)

// Beginning is how many boards are on their way to a session, from their upgrade
// until [Router.Begun] or their end, and how long those took that got there
// lately. Who lets boards in lets no more in than are finished soon.
func (r *Router) Beginning() (n int, pace time.Duration) {
	return int(r.beginning.Load()), time.Duration(r.pace.Load())
}

// Begun says that the cloud has taken a session in.
func (r *Router) Begun(s Session) {
	r.mu.Lock()
	p := r.byID[s.ID]
	if p != nil {
		p.begun = true
	}
	r.mu.Unlock()
	if p == nil {
		return
	}
	p.said()
	p.leave()
	took := int64(time.Since(p.since))
	if was := r.pace.Load(); was != 0 {
		took = was + (took-was)/16
	}
	r.pace.Store(took) // where two meet, one counts
}

// peer returns the peer of a session, nil if it is not there (any more).
func (r *Router) peer(s Session) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[s.ID]
}

// takePlace counts a board as on its way until leave is called.
func (r *Router) takePlace() (leave func()) {
	r.beginning.Add(1)
	return sync.OnceFunc(func() { r.beginning.Add(-1) })
}

// said notes that it has asked for its session to begin. Nobody is a nil one.
func (p *peer) said() {
	if p != nil && p.silence != nil {
		p.silence.Stop()
	}
}

// enlist notes a peer that is welcomed. Of too many of one board one goes: the
// oldest that has not begun, since the doctor's session and a copy's come and go
// beside the board's own; where all have begun, the oldest. The newest stays, it is
// the one that is there. r.mu is held.
func (r *Router) enlist(p *peer) {
	p.silence = time.AfterFunc(r.sayWithin, func() { p.dismiss(wamp.ReasonStale, "the session did not begin in time") })
	r.byID[p.session.ID] = p
	own := r.byBoard[p.session.Board]
	if len(own) == maxOfBoard {
		goes := max(0, slices.IndexFunc(own, func(o *peer) bool { return !o.begun }))
		own[goes].dismiss(wamp.ReasonReplaced, "newer sessions of the board took over")
		own = slices.Delete(own, goes, goes+1)
	}
	r.byBoard[p.session.Board] = append(own, p)
}

// strike takes it off. r.mu is held.
func (r *Router) strike(p *peer) {
	p.silence.Stop()
	delete(r.byID, p.session.ID)
	own := slices.DeleteFunc(r.byBoard[p.session.Board], func(o *peer) bool { return o == p })
	if len(own) == 0 {
		delete(r.byBoard, p.session.Board)
		return
	}
	r.byBoard[p.session.Board] = own
}

// dismiss ends a session with a reason. It does not wait.
func (p *peer) dismiss(reason, message string) {
	select {
	case p.wr <- &nwamp.Goodbye{Reason: nwamp.URI(reason), Details: nwamp.Dict{nwamp.OptMessage: message}}:
	default: // it does not read: it hears nothing
	}
	p.Close()
}
