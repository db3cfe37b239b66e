package hal

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/stack4things/s4t"
)

// Set changes settings, by key. All are checked before one is changed. What is
// set here wins over the io-config, also after a restart.
//
//	Invalid   a key that the pin does not have, a value that cannot be
//	Conflict  another pin has the label; the direction of a pin that somebody has
func (p *Pin) Set(ctx context.Context, settings map[string]string) error {
	select {
	case p.setting <- struct{}{}:
	case <-ctx.Done():
		return p.failed("set", ctx.Err())
	}
	defer func() { <-p.setting }()
	change, err := p.check(settings)
	if err != nil {
		return p.failed("set", err)
	}
	label, labelled := change[s4t.PinKeyLabel]
	if labelled && !p.reserve(label) {
		return s4t.Errorf(s4t.Conflict, "set "+p.name, "choose another label", "another pin has the label %s already", label)
	}
	driver := forDriver(change, p.driver)
	if _, falls := change[s4t.PinKeyFallback]; len(driver) > 0 || falls {
		err = p.do(ctx, "set", func(line Line) error { return p.configure(line, driver, change) })
	} else {
		p.adjust(change)
	}
	p.keep(change, err == nil)
	return err
}

// check checks a change.
func (p *Pin) check(settings map[string]string) (map[string]string, error) {
	change := map[string]string{}
	for k, v := range settings {
		text, err := checkSetting(k, v)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(p.keys, k) {
			return nil, s4t.Errorf(s4t.Invalid, "", "it has "+join(p.keys), "it has no setting %s", k)
		}
		change[k] = text
	}
	if lease := p.Lease(); lease != nil && change[s4t.PinKeyDirection] != "" {
		return nil, s4t.Errorf(s4t.Conflict, "", "wait until it is released", "%s has it", lease.Holder)
	}
	return change, nil
}

// reserve takes a label for the pin; false: another has it.
func (p *Pin) reserve(label string) bool {
	p.hal.mu.Lock()
	defer p.hal.mu.Unlock()
	if other := p.hal.labels[label]; other != nil && other != p {
		return false
	}
	if label != "" {
		p.hal.labels[label] = p
	}
	return true
}

// configure has the driver change what is its own. It is called on the device's
// goroutine.
func (p *Pin) configure(line Line, driver, change map[string]string) error {
	if len(driver) > 0 {
		if err := line.Set(driver); err != nil {
			return err
		}
		all := map[string]string{}
		maps.Copy(all, p.apply)
		maps.Copy(all, driver)
		p.apply = all
	}
	p.adjust(change)
	if len(driver) > 0 {
		p.listen()
	}
	if driver[s4t.PinKeyDirection] != "" {
		p.hal.orders.Lock()
		p.output = nil
		p.hal.orders.Unlock()
	}
	p.toGuard()
	return nil
}

// adjust changes what the HAL does itself. A value that was measured before is judged
// by the settings before, one after by those after: none is lost. Where a setting changes what
// the value is, the one from before is not current any more.
func (p *Pin) adjust(change map[string]string) {
	p.hal.orders.Lock()
	defer p.hal.orders.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	text := maps.Clone(p.settings.text)
	maps.Copy(text, change)
	before := p.settings.scale
	p.settings = parseSettings(text, p.driver)
	if scale := p.settings.scale; scale != before {
		p.rescale(scale / before)
	}
	if d := change[s4t.PinKeyDirection]; d != "" {
		p.writable = d == s4t.PinOut
	}
	if v := p.pending; v != nil && p.settings.debounce == 0 { // it need not last any longer
		p.pending = nil
		p.take(v.at, v.value, true)
	}
	if p.settings.period == 0 && !p.told.Load() {
		p.fresh.Store(false)
	}
	again := false // it is sampled at once
	for _, k := range []string{s4t.PinKeyScale, s4t.PinKeyDirection, s4t.PinKeyBias} {
		if _, ok := change[k]; ok {
			p.fresh.Store(false)
			again = p.settings.period > 0
		}
	}
	if _, ok := change[s4t.PinKeyPeriod]; (ok || again) && !p.isGone() {
		p.hal.timers.set(p.tick, p.hal.timers.now())
	}
}

// rescale forgets the values of another scale, by which no new one can be judged. What was
// written stays what it is for the device. Caller holds orders and mu.
func (p *Pin) rescale(by float64) {
	p.fresh.Store(false)
	p.newest.Store(nil)
	p.last, p.counted, p.pending = math.NaN(), math.NaN(), nil
	if p.output != nil {
		v := *p.output * by
		p.output = &v
	}
	if act := p.seat.act; act != nil && act.before.known {
		act.before.value *= by
	}
}

// keep has the change survive a restart, where it was done.
func (p *Pin) keep(change map[string]string, done bool) {
	h := p.hal
	p.mu.Lock()
	label := p.settings.text[s4t.PinKeyLabel]
	p.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.labels, func(name string, x *Pin) bool { return x == p && name != label })
	if !done || p.isGone() {
		return
	}
	all := map[string]string{}
	maps.Copy(all, h.set[p.name])
	maps.Copy(all, change)
	h.set[p.name] = all
	h.change()
	h.journal.touch()
}
