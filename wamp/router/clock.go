package router

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/park"
	"github.com/stack4things/s4t/rtunnel/sockopt"
)

// Each session is looked at once in beats*beat, a part of them at each beat.
const (
	beat  = 250 * time.Millisecond
	beats = 4
)

// settle is how long nobody is taken for dead after this process was stopped for as
// long: what came meanwhile is to be read first.
const settle = time.Second

// watch drops the boards that are dead, until ctx ends. Of a steady one the kernel
// says so, and reading ends: it is dropped here where it hangs, or where what was
// sent to it kept the kernel from probing. The others are pinged. They ping too, and
// that is not enough: where a NAT has lost its state only what comes from here finds
// out that the board's other connections are dead.
func (r *Router) watch(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var burst park.Burst
	last, hold := time.Now(), time.Time{}
	for n := 0; ; n = (n + 1) % beats {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if n == 0 {
				burst.Note(r.count())
			}
			if now.Sub(last) > settle {
				hold = now.Add(settle)
			}
			last = now
			if now.Before(hold) {
				continue
			}
			for _, p := range r.due(n, now) {
				p.look()
			}
		}
	}
}

// count is how many connections there are.
func (r *Router) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers)
}

// due returns whom to look at now.
func (r *Router) due(n int, now time.Time) (due []*peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.watched[n] {
		switch {
		case p.steady && (p.wrote.Load() || p.conn.Silence() >= s4t.PresenceHung):
		case !p.steady && (now.Sub(p.pinged) >= s4t.PresenceInterval || p.conn.Silence() >= s4t.PresenceTimeout):
			p.pinged = now
		default:
			continue
		}
		due = append(due, p)
	}
	return due
}

// look pings or drops a board.
func (p *peer) look() {
	switch silent := p.conn.Silence(); {
	case !p.steady && silent >= s4t.PresenceTimeout:
		p.drop()
	case !p.steady:
		p.conn.Ping()
	case silent >= s4t.PresenceHung:
		p.drop()
	default:
		p.wrote.Store(false)
		all, lost := sockopt.Acknowledged(p.conn.NetConn())
		switch {
		case lost:
			p.drop()
		case !all:
			p.wrote.Store(true)
		}
	}
}
