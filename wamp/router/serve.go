package router

import (
	"context"
	"net/http"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/wamp"
)

// ServeHTTP upgrades a board's connection and lets it join. The session goes
// on after ServeHTTP returned.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	const op = "take a control session"
	run := r.await(req.Context())
	if run == nil {
		accept.Refuse(w, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP router is not running"))
		return
	}
	ours := []string{wamp.Subprotocol}
	if _, err := accept.Subprotocol(req, ours); err != nil {
		accept.Refuse(w, err)
		return
	}
	remote := s4t.SourceOfPeer(req.RemoteAddr)
	if !r.reserve(remote) {
		accept.Refuse(w, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "too many boards are joining or connected").After(retryAfter))
		return
	}
	way := r.arrivals.sets()
	conn, _, err := accept.Accept(w, req, ours)
	if err != nil { // Accept has answered
		way.ends()
		r.release(remote)
		r.ended.Done() // reserve added it
		return
	}
	p := newPeer(r, run, conn, req, way)
	if !r.add(p) {
		way.ends()
		conn.Close()
		r.ended.Done()
		return
	}
	go p.read() // remove ends what reserve added
}

// startWait is how long a board that is faster than this process's start waits
// for it, instead of being sent away to try again.
const startWait = 2 * time.Second

// await returns what is running, nil if nothing is.
func (r *Router) await(ctx context.Context) *running {
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	select {
	case <-r.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.run
}

// reserve makes room for a peer that is not welcomed yet, and has Run wait for
// the caller. Where too many are on their way, who comes from an address with
// few takes the place of the oldest from the address with the most: one address
// cannot keep the others' boards out.
func (r *Router) reserve(remote string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil || len(r.peers) >= maxSessions {
		return false
	}
	if r.joining >= maxHandshakes {
		largest, most := "", r.joiners[remote]+1
		for from, n := range r.joiners {
			if n > most {
				largest, most = from, n
			}
		}
		if !r.evict(largest) {
			return false
		}
	}
	r.joining++
	r.joiners[remote]++
	r.ended.Add(1)
	return true
}

// evict ends the peer of an address that has been joining for longest, and
// makes its place free at once. r.mu is held.
func (r *Router) evict(remote string) bool {
	var oldest *peer
	for p := range r.peers {
		if p.remote == remote && !p.welcomed && !p.evicted && (oldest == nil || p.since.Before(oldest.since)) {
			oldest = p
		}
	}
	if oldest == nil {
		return false
	}
	oldest.evicted = true
	oldest.close(nil)
	r.joined(remote)
	return true
}

// joined notes that a peer is not joining any more. r.mu is held.
func (r *Router) joined(remote string) {
	r.joining--
	if r.joiners[remote]--; r.joiners[remote] == 0 {
		delete(r.joiners, remote)
	}
}

func (r *Router) release(remote string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined(remote)
}

// add notes the peer, unless the router was stopped meanwhile.
func (r *Router) add(p *peer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != p.run {
		r.joined(p.remote)
		return false
	}
	r.peers[p] = struct{}{}
	p.clock = time.AfterFunc(s4t.HandshakeTimeout, func() { p.close(nil) })
	return true
}

// leaves tells that the peer's session ends, if it ever began; none begins from
// now on.
func (r *Router) leaves(p *peer) {
	r.mu.Lock()
	first, was := !p.left, p.welcomed
	p.left = true
	r.mu.Unlock()
	p.way.ends()
	if first && was {
		r.cfg.Left(p.session)
	}
}

// remove forgets the peer: its connection is closed.
func (r *Router) remove(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, p)
	if p.clock != nil {
		p.clock.Stop()
	}
	if p.welcomed {
		r.strike(p)
	} else if !p.evicted {
		r.joined(p.remote)
	}
	r.ended.Done() // reserve added it
}
