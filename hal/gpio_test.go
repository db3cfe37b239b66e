package hal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/warthog618/go-gpiocdev/uapi"
)

func gpioTwin(t *testing.T) rig {
	r, _ := gpioTwinChip(t)
	return r
}

func gpioTwinChip(t *testing.T) (rig, *twinChip) {
	chip := newTwinChip(8)
	for i, name := range []string{"", "", "DOOR BELL", "TWICE", "TWICE"} {
		chip.lines[i].name = name
	}
	chip.lines[5].used, chip.lines[5].consumer, chip.lines[5].flags = true, "spi0 CS0", uapi.LineFlagV2Output
	dev := tree(t, map[string]string{"gpiochip0": ""})
	d := newGPIO(dev, chip)
	list := scan(t, d)
	for offset, label := range map[int]string{0: "", 2: "DOOR-BELL", 3: "", 4: ""} {
		if got := list[offset].Pin.Label; got != label {
			t.Errorf("line %d has the label %q, want %q", offset, got, label)
		}
	}
	for i := range chip.lines {
		if chip.lines[i].used != (i == 5) {
			t.Errorf("to look at the chip it asked for line %d", i)
		}
	}
	if p := list[5].Pin; p.Problem != `"spi0 CS0" has the line` || p.Direction != s4t.PinOut {
		t.Errorf("a line of the kernel's: %+v", p)
	}
	return rig{
		driver: d, pin: "gpio/gpiochip0/2", values: []float64{0, 1, 0},
		world: func(_ *testing.T, v float64) { chip.pull(2, int(v)) },
		remove: func(t *testing.T) {
			chip.mu.Lock()
			chip.gone = true
			chip.mu.Unlock()
			os.Remove(filepath.Join(dev, "gpiochip0"))
		},
	}, chip
}

// TestALineOfSomebodyElse: the error says whose it is.
func TestALineOfSomebodyElse(t *testing.T) {
	r, chip := gpioTwinChip(t)
	chip.lines[2].used, chip.lines[2].consumer = true, "gpiomon"
	testGPIOBusy(t, r, "gpiomon")
}

func testGPIOBusy(t *testing.T, r rig, who string) {
	f := findPin(t, scan(t, r.driver), r.pin)
	if !strings.Contains(f.Pin.Problem, who) {
		t.Errorf("the problem of a pin that %s has: %q", who, f.Pin.Problem)
	}
	if _, err := f.Open(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), who) {
		t.Errorf("open what %s has: %v, want EBUSY and who", who, err)
	}
}

func TestGPIOBeforeItsTwin(t *testing.T) {
	t.Run("settings", func(t *testing.T) {
		r := gpioTwin(t)
		testGPIOSettings(t, r)
	})
	t.Run("edges", func(t *testing.T) { testGPIOEdges(t, gpioTwin(t)) })
}

// testGPIOSettings makes an input an output, and back.
func testGPIOSettings(t *testing.T, r rig) {
	f := findPin(t, scan(t, r.driver), r.pin)
	l := open(t, f)
	for _, bad := range []map[string]string{{"direction": "up"}, {"edge": "sharp"}, {"bias": "right"}, {"debounce": "-1s"}, {"debounce": "2h"}, {"debounce": "5"}, {"direction": "out", "edge": "x"}} {
		if err := l.Set(bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("set %v: %v, want EINVAL", bad, err)
		}
	}
	if err := l.Write(1); !errors.Is(err, syscall.EPERM) {
		t.Errorf("after a refused direction: %v, want EPERM", err)
	}
	r.world(t, 1)
	set(t, l, "direction", "out")
	if v, err := l.Read(); v != 1 || err != nil {
		t.Errorf("it became an output and drives %v, %v: not the level that was on it", v, err)
	}
	r.world(t, 0)
	for _, v := range []float64{1, 0, 1} {
		if err := l.Write(v); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Read(); got != v || err != nil {
			t.Errorf("drives %v, reads %v, %v", v, got, err)
		}
	}
	for _, v := range []float64{-1, 0.5, 2} {
		if err := l.Write(v); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("write %v: %v, want EINVAL", v, err)
		}
	}
	if l.Events() != nil {
		t.Error("an output tells edges")
	}
	set(t, l, "direction", "in", "bias", "pull-up")
	if v, err := l.Read(); v != 1 || err != nil {
		t.Errorf("an input that is pulled up reads %v, %v", v, err)
	}
	got := findPin(t, scan(t, r.driver), r.pin).Pin
	if got.Settings["bias"] != "pull-up" || got.Settings["direction"] != "in" || got.Problem != "" {
		t.Errorf("a scan finds %+v", got)
	}
}

func set(t *testing.T, l Line, settings ...string) {
	t.Helper()
	m := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		m[settings[i]] = settings[i+1]
	}
	if err := l.Set(m); err != nil {
		t.Fatalf("set %v: %v", m, err)
	}
}

// testGPIOEdges checks that edges are told, at the time at which the world made them.
func testGPIOEdges(t *testing.T, r rig) {
	l := open(t, findPin(t, scan(t, r.driver), r.pin))
	if l.Events() != nil {
		t.Error("it tells edges that nobody asked for")
	}
	for _, tt := range []struct {
		settings []string
		values   []float64 // that are told when the world does 1, 0, 1, 0
	}{
		{[]string{"edge", "both"}, []float64{1, 0, 1, 0}},
		{[]string{"edge", "rising"}, []float64{1, 1}},
		{[]string{"edge", "falling"}, []float64{0, 0}},
	} {
		r.world(t, 0)
		set(t, l, tt.settings...)
		events := l.Events()
		var times []time.Time // of the world
		for _, v := range []float64{1, 0, 1, 0} {
			times = append(times, time.Now())
			r.world(t, v)
		}
		times = append(times, time.Now())
		for i, want := range tt.values {
			e := nextEvent(t, events)
			if e.Value != want || e.Lost != 0 || e.Err != nil {
				t.Errorf("%v: edge %d is %+v, want %v", tt.settings, i, e, want)
			}
			// The clock of the test and the kernel's are compared across a conversion.
			if e.At.Before(times[0].Add(-time.Millisecond)) || e.At.After(times[4].Add(time.Millisecond)) {
				t.Errorf("%v: edge %d at %v, the world was at it from %v to %v", tt.settings, i, e.At, times[0], times[4])
			}
		}
	}
	set(t, l, "edge", "none")
	if l.Events() != nil {
		t.Error("it tells edges that nobody asks for any more")
	}
}

func nextEvent(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no edge was told")
		return Event{}
	}
}

// TestWhatTheKernelDropsIsCounted: who does not read in time loses the oldest
// edges, and is told how many.
func TestWhatTheKernelDropsIsCounted(t *testing.T) {
	r, chip := gpioTwinChip(t)
	l := open(t, findPin(t, scan(t, r.driver), r.pin))
	set(t, l, "edge", "both")
	const edges = 10 * gpioEvents
	for i := range edges {
		chip.pull(2, (i+1)%2)
	}
	var told, lost uint64
	for events := l.Events(); told+lost < edges; {
		e := nextEvent(t, events)
		told, lost = told+1, lost+e.Lost
	}
	if told != gpioEvents || lost != edges-gpioEvents {
		t.Errorf("of %d edges %d are told and %d lost", edges, told, lost)
	}
}

// TestADebouncedEdgeIsTheOneBeforeTheWait: the kernel stamps it at the end.
func TestADebouncedEdgeIsTheOneBeforeTheWait(t *testing.T) {
	r, chip := gpioTwinChip(t)
	l := open(t, findPin(t, scan(t, r.driver), r.pin))
	set(t, l, "edge", "both", "debounce", "1m")
	before := time.Now()
	chip.pull(2, 1)
	if e := nextEvent(t, l.Events()); e.At.Before(before.Add(-time.Second)) || e.At.After(time.Now().Add(time.Second)) {
		t.Errorf("the edge was at %v, it is told as of %v", before, e.At)
	}
	if s := findPin(t, scan(t, r.driver), r.pin).Pin.Settings["debounce"]; s != "1m0s" {
		t.Errorf("a scan finds the debounce %q", s)
	}
}

// TestACloseEndsTheEdges: the channel is closed, also while nobody reads it.
func TestACloseEndsTheEdges(t *testing.T) {
	r, chip := gpioTwinChip(t)
	l, err := findPin(t, scan(t, r.driver), r.pin).Open()
	if err != nil {
		t.Fatal(err)
	}
	set(t, l, "edge", "both")
	events := l.Events()
	for i := range 500 {
		chip.pull(2, (i+1)%2)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range events {
	}
}

// TestAPulledChipsEdgesEnd: where the kernel does wake who waits, ENODEV is the last event.
func TestAPulledChipsEdgesEnd(t *testing.T) {
	r, chip := gpioTwinChip(t)
	l := open(t, findPin(t, scan(t, r.driver), r.pin))
	set(t, l, "edge", "both")
	events := l.Events()
	r.remove(t)
	chip.lines[2].told <- struct{}{}
	if e := nextEvent(t, events); !errors.Is(e.Err, syscall.ENODEV) {
		t.Errorf("%+v, want ENODEV", e)
	}
	if e, more := <-events; more {
		t.Errorf("and then %+v", e)
	}
}

// TestGPIOClock: times between edges are the kernel's, whatever the clock does meanwhile.
func TestGPIOClock(t *testing.T) {
	var c gpioClock
	c.set()
	offset := c.offset
	c.offset += gpioClockStep / 2
	c.set()
	if c.offset != offset+gpioClockStep/2 {
		t.Error("a small difference moved the clock")
	}
	c.offset -= int64(time.Hour)
	c.set()
	if d := c.offset - offset; d > gpioClockStep || d < -gpioClockStep {
		t.Errorf("a clock that was set is not followed: %v off", time.Duration(d))
	}
}

func FuzzEdges(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, gpioEventSize))
	f.Add(slices.Repeat([]byte{1, 0, 0, 0}, 12*3+5))
	list := make([]uapi.LineEvent, 4)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := decodeEdges(list, b); n != min(len(b)/gpioEventSize, len(list)) {
			t.Errorf("%d edges of %d bytes", n, len(b))
		}
	})
}
