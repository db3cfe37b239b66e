package router

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
)

// Each session is looked at once in beats*beat, a part of them at each beat.
const (
	beat  = 250 * time.Millisecond
	beats = 4
)

// watch pings the boards and drops those that are silent, until ctx ends. The board
// pings too, and that is not enough: where a NAT has lost its state only what comes
// from here finds out that the board's other connections are dead.
func (r *Router) watch(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for n := 0; ; n = (n + 1) % beats {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, p := range r.due(n, now) {
				if p.conn.Silence() >= s4t.PresenceTimeout {
					p.drop()
				} else {
					p.conn.Ping()
				}
			}
		}
	}
}

// due returns who is silent or to be pinged.
func (r *Router) due(n int, now time.Time) (due []*peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.watched[n] {
		if now.Sub(p.heard) >= s4t.PresenceInterval || p.conn.Silence() >= s4t.PresenceTimeout {
			p.heard = now
			due = append(due, p)
		}
	}
	return due
}
