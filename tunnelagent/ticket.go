package tunnelagent

import (
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// maxSpent is how many used tickets are remembered. Tickets live for a
// minute; past this many in a minute, more are refused rather than forgotten.
const maxSpent = 200_000

// spent remembers tickets that were used, until they expire.
type spent struct {
	mu    sync.Mutex // guards the fields below
	until map[string]int64
	next  int // how many entries make the next clean-up worth its while
}

// use notes the use of a ticket that works once. Of several at the same time
// one succeeds.
func (s *spent) use(t wire.Ticket, now time.Time) error {
	const op = "use a ticket"
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until, s.next = map[string]int64{}, 1024
	}
	if t.ID == "" || t.Expires == 0 {
		return s4t.Errorf(s4t.Forbidden, op, "", "it has no id or no end")
	}
	if _, used := s.until[t.ID]; used {
		return s4t.Errorf(s4t.Forbidden, op, "ask for a new one", "it was used before")
	}
	if len(s.until) >= s.next {
		for id, until := range s.until {
			if until < now.Unix() {
				delete(s.until, id)
			}
		}
		s.next = max(1024, 2*len(s.until))
	}
	if len(s.until) >= maxSpent {
		return s4t.Errorf(s4t.TooMany, op, "try again in a minute", "%d tickets were used within a minute", maxSpent)
	}
	s.until[t.ID] = t.Expires
	return nil
}

// ticket verifies a ticket for purpose at this agent. It is not spent yet.
func (a *Agent) ticket(text, purpose string, now time.Time) (wire.Ticket, error) {
	const op = "open an rtunnel"
	a.mu.Lock()
	key := a.key
	a.mu.Unlock()
	if key == nil {
		return wire.Ticket{}, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the tunnel agent is just starting")
	}
	if text == "" {
		return wire.Ticket{}, s4t.Errorf(s4t.Unauthenticated, op, "send a ticket as Authorization: Bearer TICKET", "there is no ticket")
	}
	t, err := wire.VerifyTicket(key, text, now)
	if err != nil {
		return wire.Ticket{}, err
	}
	if t.Agent != a.cfg.ID {
		return wire.Ticket{}, s4t.Errorf(s4t.Forbidden, op, "ask for a new one", "the ticket is for another tunnel agent")
	}
	if t.Purpose != purpose {
		return wire.Ticket{}, s4t.Errorf(s4t.Forbidden, op, "ask for another one", "the ticket is for the purpose %q, not %q", t.Purpose, purpose)
	}
	return t, nil
}
