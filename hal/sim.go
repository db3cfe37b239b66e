package hal

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// Waves of sim.
const (
	waveSine   = "sine"
	waveRamp   = "ramp" // from low to high, and again
	waveStep   = "step" // half of the cycle low, half high
	waveNoise  = "noise"
	waveCSV    = "csv"    // a file's values at its times, and again
	waveOutput = "output" // can be written
	waveInput  = "input"  // shows what an output is, by edges
)

// simPin is a [[sim]] of an io-config.
type simPin struct {
	Device string      `toml:"device"` // "": demo
	Pin    string      `toml:"pin"`    // "": the name of the wave
	Wave   string      `toml:"wave"`
	Low    *float64    `toml:"low"`  // 0
	High   *float64    `toml:"high"` // 1
	Cycle  period      `toml:"cycle"`
	Period period      `toml:"period"` // of sampling; "": a second
	File   string      `toml:"file"`   // of csv
	Unit   string      `toml:"unit"`
	Kind   s4t.PinKind `toml:"kind"`
	Loop   string      `toml:"loop"` // of input: PIN, or sim/DEVICE/PIN, of the output
	line   string      // where it is in the file, for people
}

// demo is what a board has that has nothing else.
var demo = []simPin{{Wave: waveSine}, {Wave: waveRamp}, {Wave: waveStep}, {Wave: waveNoise}, {Wave: waveOutput, Pin: "out"}, {Wave: waveInput, Pin: "in", Loop: "out"}}

// Sim is the driver of pins that are made up.
type Sim struct {
	start time.Time
	pins  []*simLine // by the order of the configuration
}

// simLine is a pin of Sim, and its Line.
type simLine struct {
	sim  *Sim
	pin  s4t.Pin
	cfg  simPin
	low  float64
	high float64
	cyc  time.Duration
	rec  []record
	from *simLine // of an input
	rand *rand.Rand

	mu     sync.Mutex // guards what follows; a leaf, one after another along from
	value  float64
	inputs []*simLine // of an output
	edge   string
	events chan Event // of an open input
	lost   uint64
}

// checkWaves checks [[sim]] sections and fills in what they leave out.
func checkWaves(op string, list []simPin) error {
	const hint = "see docs/pins.md"
	names := map[string]string{} // wave by name
	for i := range list {
		w := &list[i]
		bad := func(format string, args ...any) error {
			return s4t.Errorf(s4t.Invalid, op, hint, "[[sim]] "+itoa(i+1)+w.line+": "+format, args...)
		}
		if w.Device == "" {
			w.Device = "demo"
		}
		if w.Pin == "" {
			w.Pin = w.Wave
		}
		switch w.Wave {
		case waveSine, waveRamp, waveStep, waveNoise, waveOutput, waveInput:
		case waveCSV:
			if w.File == "" {
				return bad("a csv needs a file")
			}
		default:
			return bad("wave is sine, ramp, step, noise, csv, output or input, not %q", s4t.Line(w.Wave, s4t.MaxName))
		}
		switch w.Kind {
		case "", s4t.PinDigital, s4t.PinAnalog, s4t.PinPWM, s4t.PinSensor:
		default:
			return bad("kind is digital, analog, pwm or sensor, not %q", s4t.Line(string(w.Kind), s4t.MaxName))
		}
		name := "sim/" + w.Device + "/" + w.Pin
		if err := s4t.ValidPinName(name); err != nil {
			return bad("%w", err)
		}
		if names[name] != "" {
			return bad("there are two named %s", name)
		}
		if w.low() > w.high() || math.IsInf(w.low(), 0) || math.IsInf(w.high(), 0) || math.IsNaN(w.low()+w.high()) {
			return bad("low is greater than high")
		}
		if w.Cycle == "0s" || w.Period == "0s" {
			return bad("cycle and period are times greater than 0")
		}
		if w.Unit != s4t.Line(w.Unit, s4t.MaxName) {
			return bad("%q is no unit", s4t.Line(w.Unit, s4t.MaxName))
		}
		if w.Loop != "" && !strings.Contains(w.Loop, "/") {
			w.Loop = "sim/" + w.Device + "/" + w.Loop
		}
		names[name] = w.Wave
	}
	for i, w := range list {
		if w.Wave == waveInput && names[w.Loop] != waveOutput {
			return s4t.Errorf(s4t.Invalid, op, hint, "[[sim]] %d%s: loop names no output of sim: %q", i+1, w.line, s4t.Line(w.Loop, 3*s4t.MaxName))
		}
	}
	return nil
}

func (w *simPin) low() float64 {
	if w.Low == nil {
		return 0
	}
	return *w.Low
}

func (w *simPin) high() float64 {
	if w.High == nil {
		return max(1, w.low())
	}
	return *w.High
}

// newSim makes the driver of checked sections.
func newSim(list []simPin) (*Sim, error) {
	s := &Sim{start: time.Now()}
	byName := map[string]*simLine{}
	for _, w := range list {
		l := &simLine{sim: s, cfg: w, low: w.low(), high: w.high(), cyc: 10 * time.Second}
		if d, _ := time.ParseDuration(string(w.Cycle)); d > 0 {
			l.cyc = d
		}
		l.pin = s4t.Pin{Name: "sim/" + w.Device + "/" + w.Pin, Kind: w.Kind, Unit: w.Unit, Direction: s4t.PinIn}
		if l.pin.Kind == "" {
			l.pin.Kind = s4t.PinAnalog
			if w.Wave == waveInput || w.Wave == waveOutput {
				l.pin.Kind = s4t.PinDigital
			}
		}
		switch w.Wave {
		case waveCSV:
			var err error
			if l.rec, err = readRecording(w.File); err != nil {
				return nil, s4t.Errorf(s4t.Invalid, "make the pin "+l.pin.Name+w.line, "", "%w", err)
			}
			if w.Cycle == "" {
				l.cyc = l.rec[len(l.rec)-1].at + time.Second
			}
		case waveOutput:
			l.value = l.low
			l.pin.Direction, l.pin.Writable = s4t.PinOut, true
			l.pin.Guarantee = "made up: it keeps its value while lightning-rod runs"
		case waveInput:
			l.edge = "both"
			l.pin.Keys = []string{s4t.PinKeyEdge}
			l.pin.Settings = map[string]string{s4t.PinKeyEdge: l.edge}
		case waveNoise:
			seed := fnv.New64a()
			seed.Write([]byte(l.pin.Name))
			l.rand = rand.New(rand.NewPCG(seed.Sum64(), 0))
		}
		byName[l.pin.Name] = l
		s.pins = append(s.pins, l)
	}
	for _, l := range s.pins {
		if l.cfg.Wave == waveInput {
			l.from = byName[l.cfg.Loop]
			l.from.inputs = append(l.from.inputs, l)
		}
	}
	return s, nil
}

// Name is sim.
func (*Sim) Name() string { return "sim" }

// Scan lists its pins.
func (s *Sim) Scan(context.Context) ([]Found, error) {
	var out []Found
	for _, l := range s.pins {
		f := Found{Pin: l.pin, Open: l.open, Eager: l.cfg.Wave == waveInput}
		if l.cfg.Wave != waveInput && l.cfg.Wave != waveOutput {
			f.Period = time.Second
		}
		if d, _ := time.ParseDuration(string(l.cfg.Period)); d > 0 {
			f.Period = d
		}
		out = append(out, f)
	}
	return out, nil
}

func (l *simLine) open() (Line, error) {
	if l.cfg.Wave == waveInput {
		l.mu.Lock()
		l.events = make(chan Event, 1024)
		l.mu.Unlock()
	}
	return l, nil
}

// Read is Line's.
func (l *simLine) Read() (float64, error) {
	switch l.cfg.Wave {
	case waveInput:
		return l.from.Read()
	case waveOutput:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.value, nil
	}
	at := time.Since(l.sim.start) % l.cyc
	part := float64(at) / float64(l.cyc)
	switch l.cfg.Wave {
	case waveSine:
		return l.low + (l.high-l.low)*(1+math.Sin(2*math.Pi*part))/2, nil
	case waveRamp:
		return l.low + (l.high-l.low)*part, nil
	case waveNoise:
		return l.low + (l.high-l.low)*l.rand.Float64(), nil
	case waveCSV:
		return valueAt(l.rec, at), nil
	}
	if part < 0.5 {
		return l.low, nil
	}
	return l.high, nil
}

// Write is Line's. Inputs that show the output tell it before it returns.
func (l *simLine) Write(v float64) error {
	if l.cfg.Wave != waveOutput {
		return unix.EPERM
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.value
	l.value = v
	if v == before {
		return nil
	}
	at := time.Now().Round(0)
	for _, in := range l.inputs {
		in.tell(at, before, v)
	}
	return nil
}

// tell has an input tell a change.
func (l *simLine) tell(at time.Time, before, v float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events == nil || l.edge == "none" || l.edge == "rising" && v < before || l.edge == "falling" && v > before {
		return
	}
	select {
	case l.events <- Event{At: at, Value: v, Lost: l.lost}:
		l.lost = 0
	default:
		l.lost++
	}
}

// Set is Line's.
func (l *simLine) Set(settings map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := settings[s4t.PinKeyEdge]; e != "" {
		l.edge = e
	}
	return nil
}

// Events is Line's.
func (l *simLine) Events() <-chan Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events
}

// Close is Line's.
func (l *simLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events != nil {
		close(l.events)
		l.events = nil
	}
	return nil
}
