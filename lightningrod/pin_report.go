package lightningrod

import (
	"context"
	"reflect"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// pinReportDelay is how long a report of pins waits for what else changes: a hub
// that is plugged in brings many.
const pinReportDelay = 250 * time.Millisecond

// maxPinReport bounds the pins of one report, in bytes, well under a message.
const maxPinReport = s4t.MaxMessage * 7 / 8

// report tells one session's cloud of the pins, at its begin and when they changed,
// and of what ended, until it has heard. It returns when the session ends, or where the
// cloud is too old to know pins.
func (p *boardPins) report(ctx context.Context, c cloud, epoch int64) {
	var told []s4t.Pin // nil: nothing yet
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		changed, ended := p.hal.Changed(), p.hal.EndedChanged()
		r := wire.PinReport{Board: p.board, Epoch: epoch}
		if now := p.described(); told == nil || !reflect.DeepEqual(now, told) {
			r.Pins = &now
		}
		over := p.hal.Ended()
		r.Ended = endedOf(over)
		if r.Pins != nil || len(over) > 0 {
			err := c.Call(ctx, wamp.Pins, r, nil)
			switch {
			case err == nil:
				if r.Pins != nil {
					told = *r.Pins
				}
				p.hal.Heard(len(over))
			case wamp.ReasonOf(err) == wamp.NoSuchProcedure:
				return // an older cloud
			default:
				if ctx.Err() == nil {
					p.log.Warn("report pins to the cloud", "err", err, "retry_in", max(retryAfter(err), retryCall))
				}
				ready := make(chan struct{})
				close(ready)
				if changed = ready; !pause(ctx, c, max(retryAfter(err), retryCall)) {
					return
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
			return
		case <-ended:
		case <-changed:
			if !pause(ctx, c, pinReportDelay) {
				return
			}
		}
	}
}

// pause waits while the session lasts, and reports whether it does.
func pause(ctx context.Context, c cloud, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-c.Done():
		return false
	case <-timer.C:
		return true
	}
}

// described are the pins as the cloud keeps them: without what is true of a moment.
func (p *boardPins) described() []s4t.Pin {
	list := p.list()
	size := 0
	for i := range list {
		pin := &list[i]
		pin.Value, pin.At, pin.Lease, pin.Problem = nil, nil, nil, ""
		if size += len(wire.Encode(pin)); size > maxPinReport {
			p.log.Warn("the cloud is not told of all pins", "told", i, "pins", len(list))
			return list[:i]
		}
	}
	if list == nil {
		list = []s4t.Pin{}
	}
	return list
}

// endedOf is what the cloud is told of actuations and claims that are over.
func endedOf(list []hal.Ended) (out []wire.PinEnded) {
	for _, e := range list {
		out = append(out, wire.PinEnded{
			Pin: e.Pin, Operation: s4t.OperationID(e.Tag), Fence: e.Fence, Outcome: e.Outcome,
			Holder: e.Holder, By: e.By, Detail: s4t.Line(e.Detail, wire.MaxProblem),
		})
	}
	return out
}
