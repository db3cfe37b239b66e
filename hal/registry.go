package hal

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// scanPatience is how long a driver may look for its pins.
const scanPatience = 5 * time.Second

// moment is one time by both clocks. What is remembered, and every period and term, goes
// by the monotonic one: the other may be set.
type moment struct {
	wall time.Time
	mono time.Duration // since lightning-rod started
}

// clockStep is from when on the wall clock was set, or has drifted. Two readings of both
// clocks, microseconds apart by chance, would give what is remembered other times, and
// the samples of several pins another order.
const clockStep = time.Millisecond

// moment is now. Its wall time goes with the monotonic one until the clock has moved.
func (h *HAL) moment() moment {
	var off, known time.Duration // from the monotonic clock to the wall's, which is since 1970
	for range 3 {
		mono := h.timers.now()
		off, known = time.Duration(h.wall().UnixNano())-mono, time.Duration(h.wallOff.Load())
		if (off - known).Abs() < clockStep {
			off = known
			break
		}
		if h.timers.now()-mono < clockStep/10 { // nothing came between the two readings
			h.wallOff.Store(int64(off))
			break
		}
	}
	mono := h.timers.now()
	return moment{time.Unix(0, int64(off+mono)).UTC(), mono}
}

// momentOf is a moment that the kernel told of just now.
func (h *HAL) momentOf(at time.Time) moment {
	now := h.moment()
	return moment{at, now.mono - now.wall.Sub(at)}
}

// scan finds what came and what went. It is called by one goroutine at a time.
func (h *HAL) scan(ctx context.Context) {
	type result struct {
		found []Found
		err   error
	}
	var wrong []string
	there := map[string]Found{}
	silent := map[string]bool{} // drivers whose pins stay as they are
	ctx, cancel := context.WithTimeout(ctx, scanPatience)
	defer cancel()
	for i, d := range h.drivers {
		if h.scanning(i, true) {
			silent[d.Name()] = true
			wrong = append(wrong, "the driver "+d.Name()+" still looks for pins: a device does not answer")
			continue
		}
		got := make(chan result, 1)
		go func() {
			found, err := d.Scan(ctx)
			h.scanning(i, false)
			got <- result{found, err}
		}()
		select {
		case r := <-got:
			if r.err != nil {
				silent[d.Name()] = true
				wrong = append(wrong, "the driver "+d.Name()+" cannot look for pins: "+s4t.Line(r.err.Error(), maxProblem))
			}
			for _, f := range r.found {
				f.Pin.Name = pinName(f.Pin.Name)
				if s4t.ValidPinName(f.Pin.Name) == nil {
					there[f.Pin.Name] = f
				}
			}
		case <-ctx.Done():
			silent[d.Name()] = true
			wrong = append(wrong, "the driver "+d.Name()+" does not find its pins in "+scanPatience.String()+": a device does not answer")
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := false
	for _, p := range h.list {
		driver, _, _ := strings.Cut(p.name, "/")
		if f, ok := there[p.name]; ok {
			p.mu.Lock()
			p.found.Open = f.Open
			p.mu.Unlock()
		} else if !silent[driver] {
			h.remove(p)
			changed = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if h.pins[name] != nil {
			continue
		}
		if len(h.pins) >= s4t.MaxPins {
			wrong = append(wrong, "there are more than "+itoa(s4t.MaxPins)+" pins: hide some in the io-config")
			break
		}
		if problem, added := h.add(there[name]); added {
			changed = true
			h.pins[name].wrong = problem
		}
	}
	for _, p := range h.list {
		wrong = append(wrong, p.wrong...)
	}
	h.wrong = wrong
	if changed {
		h.change()
	}
}

// scanning notes that a driver, by its index, begins or ends to scan, and returns what was before.
func (h *HAL) scanning(driver int, begin bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.busy[driver]
	h.busy[driver] = begin
	return was
}

// pinName makes a name of what a driver calls a pin.
func pinName(name string) string {
	parts := strings.SplitN(name, "/", 3)
	for i, part := range parts {
		part = strings.Map(func(r rune) rune {
			if r < 128 && s4t.ValidPinPart("x"+string(r)) == nil {
				return r
			}
			return '_'
		}, part)
		parts[i] = part[:min(len(part), s4t.MaxName)]
	}
	return strings.Join(parts, "/")
}

// add takes a pin up. Caller holds mu.
func (h *HAL) add(f Found) (wrong []string, added bool) {
	rule, fromFile := h.file.of(f.Pin)
	if rule.Hide {
		return nil, false
	}
	name := f.Pin.Name
	deviceName := name[:strings.LastIndexByte(name, '/')]
	dev := h.devices[deviceName]
	if dev == nil {
		dev = newDevice(deviceName, h.timers, h.problemNews)
		h.devices[deviceName] = dev
		if h.running {
			go dev.run()
		}
	}
	p := &Pin{
		hal: h, dev: dev, name: name, kind: f.Pin.Kind, driver: f.Pin.Keys, rule: rule, gone: make(chan struct{}), setting: make(chan struct{}, 1),
		found: f, writable: f.Pin.Writable, problem: f.Pin.Problem, ill: f.Pin.Problem != "", last: math.NaN(), counted: math.NaN(),
	}
	p.tick, p.settle, p.lease = newTimer(p.due), newTimer(p.settled), newTimer(p.expired)
	p.keys = keysOf(f.Pin)
	if v := rule.Value.set; v != nil {
		if err := p.checkValue(*v); err != nil {
			wrong = append(wrong, "pin "+name+" is not driven to the value of the io-config: "+p.failed("write", err).Error())
			p.rule.Value.set = nil
		}
	}
	if edge := fromFile[s4t.PinKeyEdge]; edge != "" && edge != "none" && !slices.Contains(p.keys, s4t.PinKeyEdge) {
		wrong = append(wrong, "pin "+name+" tells no edges: edge of the io-config does nothing")
	}
	text := defaultSettings(f, p.keys)
	wish := map[string]string{}
	for _, from := range []map[string]string{fromFile, h.set[name]} {
		for k, v := range from {
			if slices.Contains(p.keys, k) {
				wish[k] = v
			}
		}
	}
	if label := wish[s4t.PinKeyLabel]; label != "" && h.labels[label] != nil {
		wrong = append(wrong, "pin "+name+" does not get the label "+label+": "+h.labels[label].name+" has it")
		delete(wish, s4t.PinKeyLabel)
	}
	maps.Copy(text, wish)
	if h.labels[text[s4t.PinKeyLabel]] != nil || s4t.ValidPinPart(text[s4t.PinKeyLabel]) != nil {
		text[s4t.PinKeyLabel] = ""
	}
	p.apply = forDriver(wish, p.driver)
	p.settings = parseSettings(text, p.driver)
	if d := text[s4t.PinKeyDirection]; d != "" {
		p.writable = d == s4t.PinOut
	}
	if label := text[s4t.PinKeyLabel]; label != "" {
		h.labels[label] = p
	}
	k := h.away[name]
	if k == nil {
		k = &kept{}
	}
	delete(h.away, name)
	p.history = h.samples.open(k.Seq)
	h.pins[name] = p
	h.list = h.sorted()
	h.orders.Lock()
	p.resume(k)
	h.orders.Unlock()
	edge := wish[s4t.PinKeyEdge]
	if p.settings.period > 0 || f.Eager || edge != "" && edge != "none" || len(p.apply) > 0 {
		h.timers.set(p.tick, h.timers.now())
	}
	return wrong, true
}

// resume takes up what the journal has of the pin, and drives an output as it is
// to be at a start: its lease goes on where the board was not restarted meanwhile;
// else the value of the io-config, the fallback, or for hold the value that was
// written last. Caller holds orders.
func (p *Pin) resume(k *kept) {
	h := p.hal
	p.seat.fence = k.Fence
	boot, since := h.boot()
	same := boot != "" && boot == h.last.Boot
	toUs := h.timers.now() - since
	var out *float64
	lease := func(l *keptLease) *lease {
		if l == nil {
			return nil
		}
		x := &lease{holder: l.Holder, name: l.Name, priority: l.Priority, fence: l.Fence, until: time.Duration(l.Until) + toUs, tag: l.Tag}
		switch {
		case !p.writable:
			h.tell(p.ended(x, Failed, "the pin is no output any more"))
		case !same:
			h.tell(p.ended(x, Failed, "the board was restarted"))
		case x.until <= h.timers.now():
			h.tell(p.ended(x, Over, ""))
		default:
			x.until = min(x.until, h.timers.now()+s4t.MaxActuation)
			return x
		}
		return nil
	}
	p.seat.claim, p.seat.act = lease(k.Claim), lease(k.Act)
	if a := p.seat.act; a != nil {
		a.before = &past{}
		if k.Act.Before != nil {
			a.before.known, a.before.value = true, *k.Act.Before
		}
	}
	v, falls := p.falls()
	switch {
	case !p.writable:
	case p.seat.held() != nil:
		out = k.Output
	case p.rule.Value.set != nil:
		out = p.rule.Value.set
	case falls:
		out = &v
	case k.Act != nil && k.Act.Before != nil:
		out = k.Act.Before
	default:
		out = k.Output
	}
	p.arm()
	if out == nil {
		return
	}
	v = *out
	p.dev.put(func() {
		if err := p.drive(v, nil); err != nil {
			p.fail(err)
		}
	})
}

// remove takes leave of a pin that went away. Caller holds mu.
func (h *HAL) remove(p *Pin) {
	p.fresh.Store(false)
	close(p.gone)
	for _, t := range []*timer{p.tick, p.settle, p.lease} {
		h.timers.stop(t)
	}
	p.dev.put(p.shut)
	delete(h.pins, p.name)
	h.list = h.sorted()
	p.mu.Lock()
	if label := p.settings.text[s4t.PinKeyLabel]; h.labels[label] == p {
		delete(h.labels, label)
	}
	p.mu.Unlock()
	h.orders.Lock()
	for _, l := range p.seat.leave() {
		h.tell(p.ended(l, Failed, "the device "+p.dev.name+" is gone"))
	}
	if len(h.away) < maxKept {
		h.away[p.name] = &kept{Fence: p.seat.fence, Output: p.output, Settings: h.set[p.name], Seq: p.history.newest()}
	}
	h.orders.Unlock()
	p.history.close()
	if !slices.ContainsFunc(h.list, func(x *Pin) bool { return x.dev == p.dev }) {
		p.dev.close()
		h.timers.stop(p.dev.look)
		delete(h.devices, p.dev.name)
	}
}

// sorted are the pins by name. Caller holds mu.
func (h *HAL) sorted() []*Pin {
	list := slices.Collect(maps.Values(h.pins))
	slices.SortFunc(list, func(a, b *Pin) int { return strings.Compare(a.name, b.name) })
	return list
}
