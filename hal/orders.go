package hal

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Order is a value to be written.
type Order struct {
	Value              float64
	For                time.Duration // then the pin goes back to the value before; 0: it stays
	Priority           int
	Fence              int64 // not 0: under this claim only
	Holder, HolderName string
	Tag                string // of a write For a time: told in Ended; the operation
}

// Claim of a pin.
type Claim struct {
	For                time.Duration // 0: DefaultClaim
	Priority           int
	Fence              int64 // grows with each claim of the pin; 0, of the board itself: keeps it
	Holder, HolderName string
}

// DefaultClaim is the term of a claim that names none.
const DefaultClaim = 10 * time.Minute

// Write writes one value to each of the pins. All are checked before one is acted
// on: where one is refused none is. It returns when all have acted.
//
//	Invalid    a value that cannot be
//	Forbidden  an input
//	Conflict   somebody else has the pin
//	Stale      the claim that the order names is not the present one
//	NotFound   the pin went away
//	Timeout    the device did not answer before ctx ended
func (h *HAL) Write(ctx context.Context, pins []*Pin, orders []Order) error {
	if len(pins) != len(orders) {
		return s4t.Errorf(s4t.Invalid, "write pins", "give each a value", "%d pins and %d values", len(pins), len(orders))
	}
	done := make([]chan error, len(pins))
	h.orders.Lock()
	err := h.judge(pins, orders)
	if err == nil {
		for i, p := range pins {
			done[i] = p.order(ctx, orders[i])
		}
	}
	h.orders.Unlock()
	if err != nil {
		return err
	}
	for i, p := range pins {
		if e := p.wait(ctx, "write", done[i]); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// Write writes a value, as HAL.Write does.
func (p *Pin) Write(ctx context.Context, o Order) error {
	return p.hal.Write(ctx, []*Pin{p}, []Order{o})
}

// judge checks orders. Caller holds orders.
func (h *HAL) judge(pins []*Pin, orders []Order) error {
	room := map[*device]int{}
	for i, p := range pins {
		if slices.Contains(pins[:i], p) {
			return s4t.Errorf(s4t.Invalid, "write "+p.name, "name each pin once", "it is named twice")
		}
		p.expire()
		err := p.canWrite(orders[i].Value)
		if err == nil {
			err = checkTerm(orders[i].For, orders[i].Priority)
		}
		if err == nil {
			_, err = p.seat.write(orders[i])
		}
		if err != nil {
			return p.failed("write", err)
		}
		if room[p.dev]++; !p.dev.room(room[p.dev]) {
			return p.busy("write")
		}
	}
	return nil
}

// canWrite checks a value.
func (p *Pin) canWrite(v float64) error {
	p.mu.Lock()
	writable := p.writable
	p.mu.Unlock()
	switch {
	case p.isGone():
		return s4t.Errorf(s4t.NotFound, "", "plug it in again", "the device %s is gone", p.dev.name)
	case !writable:
		return s4t.Errorf(s4t.Forbidden, "", "set direction=out where the pin has it", "it is an input")
	}
	return p.checkValue(v)
}

// checkValue checks a value by the kind of the pin.
func (p *Pin) checkValue(v float64) error {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return s4t.Errorf(s4t.Invalid, "", "write a number", "%v is no value of a pin", v)
	case p.kind == s4t.PinDigital && v != 0 && v != 1:
		return s4t.Errorf(s4t.Invalid, "", "write 0 or 1", "%v is no value of a digital pin", v)
	case p.kind == s4t.PinPWM && (v < 0 || v > 1):
		return s4t.Errorf(s4t.Invalid, "", "write a number from 0 to 1", "%v is no duty cycle", v)
	}
	return nil
}

// checkTerm checks what leases share.
func checkTerm(term time.Duration, priority int) error {
	switch {
	case term < 0 || term > s4t.MaxActuation:
		return s4t.Errorf(s4t.Invalid, "", "use a time up to "+s4t.MaxActuation.String(), "%s is too long", term)
	case priority < 0 || priority > s4t.MaxPriority:
		return s4t.Errorf(s4t.Invalid, "", "use a priority from 0 to "+itoa(s4t.MaxPriority), "%d is none", priority)
	}
	return nil
}

// order acts on an order that was judged. Caller holds orders.
func (p *Pin) order(ctx context.Context, o Order) chan error {
	if take, _ := p.seat.write(o); take {
		p.dispossess(Reaped, o.HolderName)
	}
	var before *past
	if old := p.seat.act; old != nil { // of the same holder: the newer write is in its place
		outcome, by := Released, ""
		if o.Priority > p.seat.actPriority() {
			outcome, by = Reaped, o.HolderName
		}
		before, p.seat.act = old.before, nil
		p.hal.tell(p.ended(old, outcome, by))
	}
	var act *lease
	if o.For > 0 {
		if before == nil {
			before = &past{}
		}
		act = &lease{holder: o.Holder, name: o.HolderName, priority: o.Priority, until: p.hal.timers.now() + o.For, tag: o.Tag, before: before}
		p.seat.act = act
		p.arm()
	}
	done := make(chan error, 1)
	takes := p.takes
	p.dev.put(func() {
		err := ctx.Err()
		if err == nil {
			err = p.present(takes)
		}
		if err == nil {
			err = p.drive(o.Value, before)
		}
		if err != nil {
			p.miss(act, before, err)
		}
		done <- err
	})
	return done
}

// miss ends an order that did not act, and goes back from the one in whose place it
// was meant to be. It is called on the device's goroutine.
func (p *Pin) miss(act *lease, before *past, err error) {
	h := p.hal
	h.orders.Lock()
	if act != nil && p.seat.act == act {
		p.seat.act = nil
		h.tell(p.ended(act, Failed, p.failed("write", err).Error()))
		p.arm()
	}
	back := before != nil && before.known && (p.output == nil || *p.output != before.value)
	var value float64
	if back {
		value = before.value
	}
	h.orders.Unlock()
	if back {
		if err := p.drive(value, nil); err != nil {
			p.fail(err)
		}
	}
	if before != nil {
		h.journal.hurry() // it may be there as one that acts
	}
}

// present refuses an order of who does not have the pin any more.
func (p *Pin) present(takes uint64) error {
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	if p.takes != takes {
		return s4t.Errorf(s4t.Conflict, "", "wait until it is released, or use a higher priority", "it was taken before the device answered")
	}
	return nil
}

// drive writes a value, and keeps the one before where that is asked for: on the disk, before
// it writes. It is called on the device's goroutine.
func (p *Pin) drive(v float64, before *past) error {
	h := p.hal
	h.orders.Lock()
	now := p.output
	h.orders.Unlock()
	p.mu.Lock()
	scale := p.settings.scale
	p.mu.Unlock()
	return p.work(func(line Line) (err error) {
		if before != nil && !before.known && now == nil {
			raw, err := line.Read()
			if err != nil {
				return err
			}
			raw *= scale
			now = &raw
		}
		if before != nil { // a value for a time, or in the place of one: who kills us now must not make it last
			h.orders.Lock()
			if !before.known {
				before.value, before.known = *now, true
			}
			was := p.output
			p.output = &v
			h.orders.Unlock()
			h.save()
			defer func() {
				h.orders.Lock()
				defer h.orders.Unlock()
				if err != nil && p.output == &v {
					p.output = was
				}
			}()
		}
		if err := line.Write(v / scale); err != nil {
			return err
		}
		h.orders.Lock()
		p.output = &v
		h.orders.Unlock()
		h.journal.touch()
		p.measured(h.moment(), v/scale, 0, written) // a number: it was checked
		return nil
	})
}

// Claim takes the pin for a term, or renews the claim of the same holder. When it
// returns nothing acts any more that others ordered before. Conflict: somebody else has
// the pin. Stale: a claim of a higher fence was there already.
func (p *Pin) Claim(ctx context.Context, c Claim) error {
	h := p.hal
	if c.For == 0 {
		c.For = DefaultClaim
	}
	h.orders.Lock()
	p.expire()
	err := checkTerm(c.For, c.Priority)
	if err == nil && p.isGone() {
		err = s4t.Errorf(s4t.NotFound, "", "plug it in again", "the device %s is gone", p.dev.name)
	}
	var take bool
	if err == nil {
		take, err = p.seat.admit(c)
	}
	if err != nil {
		h.orders.Unlock()
		return p.failed("claim", err)
	}
	var done chan error
	if take || p.seat.held() == nil { // also of a free pin: what others ordered acts now, or not at all
		done = p.dispossess(Reaped, c.HolderName)
	} else if act := p.seat.act; act != nil && c.Priority > p.seat.actPriority() { // of the same holder
		p.seat.act = nil
		done = p.end([]*lease{act}, Reaped, c.HolderName)
	}
	p.seat.sit(c, h.timers.now()+c.For)
	p.arm()
	h.orders.Unlock()
	h.save() // the fence is on disk before the claim is answered
	if done == nil {
		return nil
	}
	return p.wait(ctx, "claim", done)
}

// Fence is the highest number of a claim of the pin that the board has heard.
func (p *Pin) Fence() int64 {
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	return p.seat.fence
}

// Release ends the claim, and the pending actuation, of the holder. Somebody else's is ended by
// a higher priority only.
func (p *Pin) Release(ctx context.Context, holder string, priority int) error {
	h := p.hal
	h.orders.Lock()
	p.expire()
	held := p.seat.held()
	var done chan error
	var err error
	switch {
	case held == nil:
	case held.holder == holder:
		done = p.dispossess(Released, "")
	case priority > held.priority:
		done = p.dispossess(Reaped, holder)
	default:
		err = held.taken()
	}
	h.orders.Unlock()
	if err != nil {
		return p.failed("release", err)
	}
	h.journal.touch()
	if done == nil {
		return nil
	}
	return p.wait(ctx, "release", done)
}

// Lease is who has the pin; nil: nobody.
func (p *Pin) Lease() *s4t.PinLease {
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	held := p.seat.held()
	if held == nil {
		return nil
	}
	left := max(held.until-p.hal.timers.now(), 0)
	return &s4t.PinLease{Holder: held.name, Priority: held.priority, Fence: held.fence, Until: p.hal.wall().Add(left).UTC()}
}
