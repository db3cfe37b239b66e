package wire

import (
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// UsedTickets remembers tickets that work once, from their use until they
// expire. It is safe for use by many goroutines.
type UsedTickets struct {
	max int

	mu      sync.Mutex // guards the fields below
	expires map[string]int64
	next    int   // how many entries make the next clean-up worth its while
	cleaned int64 // Unix second of the last one: there is nothing new to find within it
}

// NewUsedTickets returns an empty one that remembers at most max tickets. Past
// that many in the life of a ticket, more are refused rather than forgotten
// early.
func NewUsedTickets(max int) *UsedTickets {
	return &UsedTickets{max: max, expires: map[string]int64{}, next: min(max, 1024)}
}

// Use notes the use of a verified ticket that works once, at the cloud's time
// now. Of several uses at the same time one succeeds; the others are
// [s4t.Forbidden].
func (u *UsedTickets) Use(t Ticket, now time.Time) error {
	const op = "use a ticket"
	if t.ID == "" || t.Expires == 0 {
		return s4t.Errorf(s4t.Forbidden, op, "", "it has no id or no end")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, used := u.expires[t.ID]; used {
		return s4t.Errorf(s4t.Forbidden, op, "ask for a new one", "it was used before")
	}
	if len(u.expires) >= u.next && now.Unix() != u.cleaned {
		u.cleaned = now.Unix()
		for id, expires := range u.expires {
			if expires < now.Unix() {
				delete(u.expires, id)
			}
		}
		u.next = min(u.max, max(1024, 2*len(u.expires)))
	}
	if len(u.expires) >= u.max {
		return s4t.Errorf(s4t.TooMany, op, "try again in a minute", "%d tickets were used within a minute", u.max)
	}
	u.expires[t.ID] = t.Expires
	return nil
}
