package lightningrod

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what the cloud asks of pins at once. A question to a driver that blocks
// waits as long as the cloud does, and less: the cloud hears which pin it was.
const (
	maxPinAsks  = 8
	pinAskLimit = s4t.PinAnswerTime - 200*time.Millisecond
)

// What the owner lets the cloud do with a pin (`cloud` in the io-config).
const (
	cloudNone  = "none" // it does not see it
	cloudRead  = "read"
	cloudWrite = "write"
)

// pins joins the board's pins with the cloud.
type pins struct {
	hal   *hal.HAL
	asks  chan struct{} // a slot for each question that is being answered
	watch *pinWatch
	log   *slog.Logger
}

func newPins(h *hal.HAL, log *slog.Logger) *pins {
	return &pins{hal: h, asks: make(chan struct{}, maxPinAsks), watch: newPinWatch(h), log: log}
}

// answer answers the cloud's [wire.PinAsk], in JSON.
func (p *pins) answer(ctx context.Context, question string) (string, error) {
	var ask wire.PinAsk
	if err := json.Unmarshal([]byte(question), &ask); err != nil {
		return "", s4t.Errorf(s4t.Invalid, "ask for pins", "", "the question is not understood: %w", err)
	}
	select {
	case p.asks <- struct{}{}:
		defer func() { <-p.asks }()
	default:
		return "", s4t.Errorf(s4t.TooMany, "ask for pins", "try again in a moment", "the board answers %d questions about its pins already", maxPinAsks)
	}
	ctx, cancel := context.WithTimeout(ctx, pinAskLimit)
	defer cancel()
	a, err := p.do(ctx, ask)
	if err != nil {
		return "", err
	}
	return string(wire.Encode(a)), nil
}

// do carries out one question or order of the cloud.
func (p *pins) do(ctx context.Context, ask wire.PinAsk) (a wire.PinAnswer, err error) {
	if n := len(ask.Pins) + len(ask.Values); n > s4t.MaxPins {
		return a, s4t.Errorf(s4t.TooMany, "ask for pins", "ask for fewer", "%d pins are named, a board has %d at most", n, s4t.MaxPins)
	}
	switch ask.Do {
	case wire.PinWatched:
		return p.watch.set(ask)
	case wire.PinList:
		if len(ask.Pins) == 0 {
			return wire.PinAnswer{Pins: p.list()}, nil
		}
	case wire.PinWrite:
		return p.write(ctx, ask)
	}
	list, err := p.find(ask.Pins)
	if err != nil {
		return a, err
	}
	switch ask.Do {
	case wire.PinList:
		return infoOf(list), nil
	case wire.PinRead:
		a.Samples, err = readAll(ctx, list)
		return a, err
	case wire.PinHistory:
		return history(list, ask), nil
	}
	if len(list) != 1 {
		return a, s4t.Errorf(s4t.Invalid, ask.Do+" a pin", "name one", "%d pins are named", len(list))
	}
	pin := list[0]
	if err := p.writable(ask.Do, pin.Info().Name); err != nil {
		return a, err
	}
	switch ask.Do {
	case wire.PinSet:
		err = pin.Set(ctx, ask.Settings)
	case wire.PinClaim:
		err = pin.Claim(ctx, hal.Claim{For: ask.For, Priority: ask.Priority, Fence: ask.Fence, Holder: ask.Holder, HolderName: ask.HolderName})
	case wire.PinRelease:
		err = pin.Release(ctx, ask.Holder, ask.Priority)
	default:
		err = s4t.Errorf(s4t.Invalid, "ask for pins", "lightning-rod may be older than the cloud: update it", "the board cannot %q", ask.Do)
	}
	if err != nil {
		return a, err
	}
	return infoOf(list), nil
}

// list is what the cloud may see of all pins.
func (p *pins) list() []s4t.Pin {
	all := p.hal.Pins()
	return slices.DeleteFunc(all, func(pin s4t.Pin) bool { return p.hal.Cloud(pin.Name) == cloudNone })
}

// find finds pins by name or label. One that the owner hides is not there.
func (p *pins) find(names []string) (list []*hal.Pin, err error) {
	for _, name := range names {
		pin, err := p.hal.Pin(name)
		if err != nil {
			return nil, err
		}
		if p.hal.Cloud(pin.Info().Name) == cloudNone {
			return nil, s4t.Errorf(s4t.NotFound, "find pin "+s4t.Line(name, s4t.MaxName), "`s4t pin list BOARD` shows those that are there", "the board has no such pin")
		}
		list = append(list, pin)
	}
	return list, nil
}

// writable says whether the owner lets the cloud change a pin.
func (p *pins) writable(do, name string) error {
	if may := p.hal.Cloud(name); may != cloudWrite {
		return s4t.Errorf(s4t.Forbidden, do+" pin "+name, `the owner of the board can allow it: cloud = "write" of the pin in its io-config`, "the owner of the board lets the cloud only %s it", may)
	}
	return nil
}

// write writes the values of all pins or, where one is refused, of none.
func (p *pins) write(ctx context.Context, ask wire.PinAsk) (a wire.PinAnswer, err error) {
	names := make([]string, 0, len(ask.Values))
	for name := range ask.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return a, s4t.Errorf(s4t.Invalid, "write pins", "name a pin and its value", "none is named")
	}
	list, err := p.find(names)
	if err != nil {
		return a, err
	}
	orders := make([]hal.Order, len(names))
	for i, name := range names {
		if err := p.writable(wire.PinWrite, list[i].Info().Name); err != nil {
			return a, err
		}
		orders[i] = hal.Order{
			Value: ask.Values[name], For: ask.For, Priority: ask.Priority, Fence: ask.Fence,
			Holder: ask.Holder, HolderName: ask.HolderName, Tag: string(ask.Operation),
		}
	}
	if err := p.hal.Write(ctx, list, orders); err != nil {
		return a, err
	}
	return infoOf(list), nil
}

func infoOf(list []*hal.Pin) (a wire.PinAnswer) {
	for _, pin := range list {
		a.Pins = append(a.Pins, pin.Info())
	}
	return a
}

// readAll reads the newest value of each pin. Those that must be asked are asked at
// once: a slow one costs its own time only.
func readAll(ctx context.Context, list []*hal.Pin) ([]s4t.Sample, error) {
	out := make([]s4t.Sample, len(list))
	errs := make([]error, len(list))
	var asking sync.WaitGroup
	for i, pin := range list {
		s, ok := pin.Newest()
		if out[i] = s; !ok {
			asking.Go(func() { out[i], errs[i] = pin.Read(ctx) })
		}
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// history is a page of samples of several pins, by time. What a page has not, the next
// one has, which is asked for after the last of each pin: no page has a sample that is
// older than one of the page before.
func history(list []*hal.Pin, ask wire.PinAsk) (a wire.PinAnswer) {
	limit := ask.Limit
	if limit < 1 || limit > wire.MaxSamples {
		limit = wire.MaxSamples
	}
	each := max(limit/max(len(list), 1), 1)
	var horizon time.Time // until when all are known
	for _, pin := range list {
		got, more := pin.History(ask.After[pin.Info().Name], ask.Since, each)
		a.Samples = append(a.Samples, got...)
		if more && len(got) > 0 {
			a.More = true
			if last := got[len(got)-1].At; horizon.IsZero() || last.Before(horizon) {
				horizon = last
			}
		}
	}
	slices.SortStableFunc(a.Samples, func(x, y s4t.Sample) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Pin, y.Pin)) })
	if a.More {
		a.Samples = slices.DeleteFunc(a.Samples, func(s s4t.Sample) bool { return s.At.After(horizon) })
	}
	return a
}
