package hal

import (
	"time"

	"github.com/stack4things/s4t"
)

// dispossess ends all leases of the pin: what was ordered under them and has not acted
// does not act, a pending actuation goes back, and with a claim the pin falls back. The channel
// tells when that has acted. Caller holds orders.
func (p *Pin) dispossess(outcome, by string) chan error {
	return p.end(p.seat.leave(), outcome, by)
}

// end does it for leases that are out of the seat already. Caller holds orders.
func (p *Pin) end(leases []*lease, outcome, by string) chan error {
	p.takes++
	p.arm()
	var back []*past
	for _, l := range leases {
		if l.before != nil {
			back = append(back, l.before)
			p.hal.journal.hurry() // else a restart would have it go on
		} else if v, falls := p.falls(); falls {
			back = append(back, &past{true, v})
		}
		if n := len(back) - 1; n >= 0 && back[n].known {
			v := back[n].value
			p.output = &v // as it is kept from now on, also where the device does not answer
		}
		p.hal.tell(p.ended(l, outcome, by))
	}
	done := make(chan error, 1)
	p.dev.put(func() {
		var err error
		for _, to := range back {
			p.hal.orders.Lock()
			known, value := to.known, to.value
			p.hal.orders.Unlock()
			if !known {
				continue // it never acted
			}
			if e := p.drive(value, nil); e != nil {
				p.fail(e)
				err = e
			}
		}
		done <- err
	})
	return done
}

// ended is what is told of a lease. detail is who took the pin, or what failed.
func (p *Pin) ended(l *lease, outcome, detail string) Ended {
	e := Ended{Pin: p.name, Tag: l.tag, Fence: l.fence, Outcome: outcome, Holder: l.name}
	switch outcome {
	case Reaped:
		e.By = detail
	case Failed:
		e.Detail = detail
	}
	return e
}

// falls is the value that the pin falls back to; false: it stays.
func (p *Pin) falls() (float64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.writable, p.settings.fallback == s4t.FallbackHold:
		return 0, false
	case p.settings.fallback == s4t.FallbackHigh:
		return 1, true
	}
	return 0, true
}

// atEnd is the value that the pin has when lightning-rod ends; false: it stays. A
// value that was written for a time does not last longer than who takes it back.
func (p *Pin) atEnd() (float64, bool) {
	if v, falls := p.falls(); falls {
		return v, true
	}
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	if p.seat.act == nil || !p.seat.act.before.known {
		return 0, false
	}
	return p.seat.act.before.value, true
}

// expire ends leases whose time is over. Caller holds orders.
func (p *Pin) expire() {
	if ended := p.seat.over(p.hal.timers.now()); len(ended) > 0 {
		p.end(ended, Over, "")
		p.hal.journal.touch()
	}
}

// expired is expire, at its time.
func (p *Pin) expired(time.Duration) {
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	p.expire()
	p.arm()
}

// arm sets the timer of the next end. Caller holds orders.
func (p *Pin) arm() {
	if at, any := p.seat.next(); any {
		p.hal.timers.set(p.lease, at)
	} else {
		p.hal.timers.stop(p.lease)
	}
}
