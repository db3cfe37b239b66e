package router

import (
	"sync"
	"time"
)

// Bounds on guessing codes. A code has 160 bits: this keeps the conductor from
// being busy with guesses, not the codes from being guessed.
const (
	guardFailures = 20          // codes that were not valid ...
	guardWindow   = time.Minute // ... in this time, from one address
	guardEntries  = 4096        // addresses that are remembered
)

// guard counts failed joins by remote address. The zero value is ready.
type guard struct {
	mu   sync.Mutex // guards seen
	seen map[string]*failures
}

// failures of one address in a window.
type failures struct {
	since time.Time
	n     int
}

// allow reports whether the address may try.
func (g *guard) allow(remote string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.seen[remote]
	return f == nil || now.Sub(f.since) >= guardWindow || f.n < guardFailures
}

// failed counts a failure. When the table is full of fresh entries, the oldest
// goes: an attacker with that many addresses is not held by addresses.
func (g *guard) failed(remote string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		g.seen = make(map[string]*failures)
	}
	f := g.seen[remote]
	if f == nil && len(g.seen) >= guardEntries {
		g.evict(now)
	}
	if f == nil || now.Sub(f.since) >= guardWindow {
		f = &failures{since: now}
		g.seen[remote] = f
	}
	f.n++
}

// evict makes room: every entry whose window is over, else the oldest.
func (g *guard) evict(now time.Time) {
	oldest := ""
	for remote, f := range g.seen {
		if now.Sub(f.since) >= guardWindow {
			delete(g.seen, remote)
		} else if oldest == "" || f.since.Before(g.seen[oldest].since) {
			oldest = remote
		}
	}
	if len(g.seen) >= guardEntries {
		delete(g.seen, oldest)
	}
}
