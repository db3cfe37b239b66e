package router

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	nwamp "github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// ServeHTTP upgrades a board's connection and lets it join. The session goes
// on after ServeHTTP returned.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	run := r.await(req.Context())
	if run == nil {
		refuseUpgrade(w, "the WAMP router is not running", http.StatusServiceUnavailable)
		return
	}
	if !offers(req, wamp.Subprotocol) {
		refuseUpgrade(w, "this is for WebSockets with the subprotocol "+wamp.Subprotocol, http.StatusBadRequest)
		return
	}
	up := websocket.Upgrader{
		HandshakeTimeout: s4t.HandshakeTimeout,
		Subprotocols:     []string{wamp.Subprotocol},
		WriteBufferSize:  4096,
		WriteBufferPool:  &r.buffers, // an idle session holds none
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refuseUpgrade(w, reason.Error(), status)
		},
	}
	remote := s4t.SourceOfPeer(req.RemoteAddr)
	if !r.reserve(remote) {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		refuseUpgrade(w, "too many boards are joining or connected", http.StatusServiceUnavailable)
		return
	}
	defer r.ended.Done() // reserve added it; the goroutines below have their own
	leave := r.takePlace()
	ws, err := up.Upgrade(w, req, nil)
	if err != nil {
		leave()
		r.release(remote)
		return // Upgrade has answered
	}
	p := newPeer(r, run.ctx, ws, remote)
	p.leave = leave
	if !r.add(p, run) {
		leave()
		ws.Close()
		return
	}
	defer r.attaching.Done() // add added it
	r.ended.Go(p.read)
	r.ended.Go(func() {
		p.write()
		r.remove(p)
	})
	r.attaching.Go(func() {
		if err := run.nexus.Attach(p); err != nil {
			if !p.codeGood {
				r.refused.Info(p.log, "a board could not join", "err", err)
			}
			p.Close()
		}
	})
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

// refuseUpgrade answers with one line, and ends the connection: nothing else
// is to come on it.
func refuseUpgrade(w http.ResponseWriter, why string, status int) {
	w.Header().Set("Connection", "close")
	http.Error(w, why, status)
}

// offers reports whether the request offers a WebSocket subprotocol.
func offers(req *http.Request, subprotocol string) bool {
	for _, line := range req.Header.Values("Sec-Websocket-Protocol") {
		for one := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(one) == subprotocol {
				return true
			}
		}
	}
	return false
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
	oldest.Close()
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

// add notes the peer, unless the router was stopped meanwhile, and has Run wait
// for the caller to attach it.
func (r *Router) add(p *peer, run *running) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != run {
		r.joined(p.remote)
		return false
	}
	r.peers[p] = struct{}{}
	r.attaching.Add(1)
	return true
}

// welcome notes that the peer's session begins. Called before the board is
// told, so that a board that acts at once is known.
func (r *Router) welcome(p *peer, w *nwamp.Welcome) {
	authid, _ := nwamp.AsString(w.Details["authid"])
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.welcomed {
		return // it was in the queue when the session was closed
	}
	p.welcomed = true
	p.session = Session{ID: uint64(w.ID), Board: s4t.BoardID(authid)}
	if !p.evicted {
		r.joined(p.remote)
	}
	r.enlist(p)
	r.cfg.Joined(p.session)
	p.log.Debug("control session begins", "board", p.session.Board, "session", p.session.ID)
}

// leave tells that the peer's session has ended, if it ever began.
func (r *Router) leave(p *peer) {
	r.mu.Lock()
	session, was := p.session, p.welcomed
	r.mu.Unlock()
	if was {
		r.cfg.Left(session)
	}
	p.leave()
}

// remove forgets the peer: its connection is closed.
func (r *Router) remove(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, p)
	p.leave()
	if p.welcomed {
		r.strike(p)
	} else if !p.evicted {
		r.joined(p.remote)
	}
}

// quiet takes nexus' log lines: they are for who debugs.
type quiet struct{ log *slog.Logger }

// Print logs like fmt.Print.
func (q quiet) Print(v ...any) { q.log.Debug(fmt.Sprint(v...)) }

// Println logs like fmt.Println.
func (q quiet) Println(v ...any) { q.log.Debug(strings.TrimSpace(fmt.Sprintln(v...))) }

// Printf logs like fmt.Printf.
func (q quiet) Printf(format string, v ...any) { q.log.Debug(fmt.Sprintf(format, v...)) }
