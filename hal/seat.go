package hal

import (
	"time"

	"github.com/stack4things/s4t"
)

// seat is who has a pin, and the rules of taking it. It knows no clock and no
// device.
type seat struct {
	fence int64  // the highest of all claims so far
	claim *lease // nil: none
	act   *lease // a value that is written for a time; where there is a claim too it is of the same holder
}

// lease is a claim, or a pending actuation, of one holder.
type lease struct {
	holder, name string // for ever the same; for people
	priority     int
	fence        int64         // of a claim
	until        time.Duration // since the start of the HAL
	tag          string        // of an actuation
	before       *past         // of an actuation
}

// past is the value that an actuation goes back to: known from when it acted.
type past struct {
	known bool
	value float64
}

// held is the lease that counts; nil: the pin is free.
func (s *seat) held() *lease {
	if s.claim != nil {
		return s.claim
	}
	return s.act
}

// actPriority is what reaps the pending actuation has more than; of the same holder, too. Under
// a claim it has the claim's: who renews a claim does not reap what acts under it.
func (s *seat) actPriority() int {
	if s.claim != nil {
		return max(s.act.priority, s.claim.priority)
	}
	return s.act.priority
}

// taken is the error of a pin that somebody else has.
func (l *lease) taken() error {
	return s4t.Errorf(s4t.Conflict, "", "wait until it is released, or use a higher priority than its "+itoa(l.priority), "%s has it", l.name)
}

// write judges an order: take says that it takes the pin from who has it.
func (s *seat) write(o Order) (take bool, err error) {
	held := s.held()
	if o.Fence != 0 && (s.claim == nil || s.claim.holder != o.Holder || s.claim.fence != o.Fence) {
		return false, s4t.Errorf(s4t.Stale, "", "claim the pin again", "the claim %d is over", o.Fence)
	}
	if held == nil || held.holder == o.Holder {
		return false, nil
	}
	if o.Priority > held.priority {
		return true, nil
	}
	return false, held.taken()
}

// admit judges a claim in the same way.
func (s *seat) admit(c Claim) (take bool, err error) {
	held := s.held()
	again := s.claim != nil && s.claim.holder == c.Holder && s.claim.fence == c.Fence
	if c.Fence != 0 && c.Fence <= s.fence && !again {
		return false, s4t.Errorf(s4t.Stale, "", "claim the pin again", "a newer claim than %d was there already", c.Fence)
	}
	if held == nil || held.holder == c.Holder {
		return false, nil
	}
	if c.Priority > held.priority {
		return true, nil
	}
	return false, held.taken()
}

// sit makes a claim that was admitted the present one.
func (s *seat) sit(c Claim, until time.Duration) {
	s.fence = max(s.fence, c.Fence)
	s.claim = &lease{holder: c.Holder, name: c.HolderName, priority: c.Priority, fence: s.fence, until: until}
}

// over takes out the leases whose time is over. An actuation under a claim ends with it.
func (s *seat) over(now time.Duration) (ended []*lease) {
	if s.claim != nil && s.claim.until <= now {
		return s.leave()
	}
	if s.act != nil && s.act.until <= now {
		ended = append(ended, s.act)
		s.act = nil
	}
	return ended
}

// leave takes out all leases, the actuation first.
func (s *seat) leave() (ended []*lease) {
	if s.act != nil {
		ended = append(ended, s.act)
	}
	if s.claim != nil {
		ended = append(ended, s.claim)
	}
	s.act, s.claim = nil, nil
	return ended
}

// next is when the next lease is over; false: there is none.
func (s *seat) next() (time.Duration, bool) {
	switch {
	case s.claim != nil && s.act != nil:
		return min(s.claim.until, s.act.until), true
	case s.held() != nil:
		return s.held().until, true
	}
	return 0, false
}
