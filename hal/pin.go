package hal

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
)

// maxProblem bounds what a pin says of its driver's error, in bytes.
const maxProblem = 200

// Pin is a pin of a HAL, for as long as it is there: one that went and came
// again is another.
type Pin struct {
	hal     *HAL
	dev     *device
	name    string
	kind    s4t.PinKind
	driver  []string // keys of settings that its driver knows
	keys    []string // all that it has
	rule    rule     // what the owner says of it
	wrong   []string // with what he says; guarded by hal.mu
	gone    chan struct{}
	setting chan struct{} // cap 1: full while settings change
	tick    *timer        // sampling
	settle  *timer        // debouncing
	lease   *timer        // the end of who has it

	newest atomic.Pointer[s4t.Sample] // nil: none of the present scale
	fresh  atomic.Bool                // newest is current
	queued atomic.Bool                // for sampling
	told   atomic.Bool                // the line tells every change by itself

	// Of the device's goroutine.
	line  Line
	pump  *pump
	apply map[string]string // the driver's settings that are set when it is opened

	// Guarded by hal.orders.
	seat   seat
	output *float64 // what was written last
	takes  uint64   // how often it was taken from somebody: what was ordered before is not done
	guard  *GuardOrder

	mu       sync.Mutex // guards what follows; before histories.mu and timers.mu
	found    Found
	writable bool
	settings settings
	history  *history
	last     float64 // the value before, NaN: none
	counted  float64 // the newest that was a sample
	pending  *pendingValue
	lost     uint64 // since the last sample
	problem  string
	ill      bool       // Revision counts that it has a problem
	watchers []*watcher // never changed in place
}

// pendingValue is one that has to last for the debounce time.
type pendingValue struct {
	at    moment
	value float64
	due   time.Duration
}

type watcher struct{ fn func(s4t.Sample) }

// Info is the pin as it is now.
func (p *Pin) Info() s4t.Pin {
	lease := p.Lease()
	p.mu.Lock()
	defer p.mu.Unlock()
	pin := p.found.Pin
	pin.Name, pin.Lease, pin.Keys, pin.Writable = p.name, lease, slices.Clone(p.keys), p.writable
	pin.Driver, pin.Device, _ = strings.Cut(p.dev.name, "/")
	pin.Settings = maps.Clone(p.settings.text)
	pin.Label = pin.Settings[s4t.PinKeyLabel]
	if d := pin.Settings[s4t.PinKeyDirection]; d != "" {
		pin.Direction = d
	}
	pin.PeriodMS = float64(p.settings.period) / float64(time.Millisecond)
	pin.Problem = p.problem
	if stuck := p.dev.stuck(); stuck != "" {
		pin.Problem = stuck
	}
	if s := p.newest.Load(); s != nil {
		value, at := s.Value, s.At
		pin.Value, pin.At = &value, &at
	}
	return pin
}

// Newest is the newest sample, from memory and without a lock. ok is false where
// there is none that is current: Read it.
func (p *Pin) Newest() (s s4t.Sample, ok bool) {
	if p.fresh.Load() {
		if newest := p.newest.Load(); newest != nil {
			return *newest, true
		}
	}
	return s4t.Sample{}, false
}

// Last is the newest sample, whether it is current or not: whose Seq is another than
// before was told of. false: there is none yet.
func (p *Pin) Last() (s s4t.Sample, ok bool) {
	if newest := p.newest.Load(); newest != nil {
		return *newest, true
	}
	return s, false
}

// Read reads the value: from memory where that is current, else from the device,
// for as long as ctx lasts. What is read so is no sample of its own: it has the Seq
// of the newest.
func (p *Pin) Read(ctx context.Context) (s4t.Sample, error) {
	if s, ok := p.Newest(); ok {
		return s, nil
	}
	var s s4t.Sample
	err := p.do(ctx, "read", func(line Line) error {
		raw, err := line.Read()
		if err == nil {
			s, err = p.measured(p.hal.moment(), raw, 0, asked)
		}
		return err
	})
	return s, err
}

// Watch has fn called with each sample from now on, in the order of Seq, until
// cancel. fn must not wait, and must not call the pin.
func (p *Pin) Watch(fn func(s4t.Sample)) (cancel func()) {
	w := &watcher{fn}
	p.mu.Lock()
	p.watchers = append(slices.Clone(p.watchers), w)
	open := p.settings.period == 0 && p.settings.text[s4t.PinKeyEdge] != "none"
	p.mu.Unlock()
	if open {
		p.dev.sample(p) // opens it, so that it tells
	}
	return func() {
		p.mu.Lock()
		p.watchers = slices.DeleteFunc(slices.Clone(p.watchers), func(x *watcher) bool { return x == w })
		p.mu.Unlock()
	}
}

// History returns up to limit samples with a Seq greater than after, and not
// older than since, the oldest first; more where there are more. An after that the pin
// has not reached is from before lightning-rod started: it counts as 0.
func (p *Pin) History(after uint64, since time.Time, limit int) (list []s4t.Sample, more bool) {
	now := p.hal.moment()
	if oldest := now.wall.Add(-s4t.PinHistory); since.Before(oldest) {
		since = oldest
	}
	return p.history.list(p.name, after, since, limit, now)
}

// Where a value comes from.
const (
	asked   = iota // somebody reads it now: it is no sample
	sampled        // read at its time
	event          // told by the device
	written
)

// measured takes a raw value of the device. It is a sample where it is meant to
// be one and the settings of the pin let it.
func (p *Pin) measured(at moment, raw float64, lost uint64, from int) (s4t.Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := raw * p.settings.scale
	if math.IsNaN(v) || math.IsInf(v, 0) {
		err := s4t.Errorf(s4t.Internal, "read "+p.name, "look at the device and at the setting scale", "the driver read %v, which is no number", v)
		p.fresh.Store(false)
		p.says(err.Error())
		return s4t.Sample{}, err
	}
	p.says("")
	p.lost += lost
	if p.settings.debounce > 0 && (from == sampled || from == event) && !math.IsNaN(p.last) {
		switch {
		case v == p.last:
			p.pending = nil // it bounced back
		case p.pending == nil || p.pending.value != v:
			p.pending = &pendingValue{at, v, p.hal.timers.now() + p.settings.debounce}
			p.hal.timers.set(p.settle, p.pending.due)
		}
		if v != p.last || from == event {
			return *p.newest.Load(), nil
		}
	}
	return p.take(at, v, from != asked), nil
}

// settled takes the value that has lasted.
func (p *Pin) settled(at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending != nil && p.pending.due <= at {
		v := p.pending
		p.pending = nil
		p.take(v.at, v.value, true)
	}
}

// take makes v the newest value, and a sample. Caller holds mu.
func (p *Pin) take(at moment, v float64, meant bool) s4t.Sample {
	s := s4t.Sample{Pin: p.name, At: at.wall, Value: v}
	if before := p.newest.Load(); before != nil {
		s.Seq = before.Seq
	} else {
		s.Seq = p.history.newest()
	}
	counts := meant && (math.IsNaN(p.counted) || p.settings.counts(v, p.last, p.counted))
	p.last = v
	if counts {
		s.Seq = p.history.add(at.mono, v, p.lost)
		s.Merged, p.lost, p.counted = p.lost, 0, v
	}
	p.newest.Store(&s)
	p.fresh.Store(p.settings.period > 0 || p.told.Load())
	if counts {
		for _, w := range p.watchers {
			w.fn(s)
		}
	}
	return s
}

// due has the pin sampled, and again after its period. Pins of one period are
// sampled together, so that the board wakes up once for all. What is late by less than
// a period is made up for, what is late by more is left out.
func (p *Pin) due(at time.Duration) {
	p.dev.sample(p)
	p.mu.Lock()
	period := p.settings.period
	p.mu.Unlock()
	if period == 0 || p.isGone() {
		return
	}
	if late := p.hal.timers.now() - at; late >= 2*period {
		at += late
	}
	p.hal.timers.set(p.tick, (at/period+1)*period)
}
