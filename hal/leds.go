package hal

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stack4things/s4t"
)

// ledDriver finds the LEDs of the board (Linux,
// Documentation/leds/leds-class.rst): led/NAME/brightness. One that is on or off
// is digital; one that can be dimmed is of the kind pwm, from 0 to 1 in the steps that it has.
type ledDriver struct{ class string }

func newLEDs(sys string) Driver { return ledDriver{filepath.Join(sys, "class", "leds")} }

// Name is led.
func (ledDriver) Name() string { return "led" }

// Scan lists the LEDs. One that only a trigger can light has no brightness of its own, and is left out.
func (d ledDriver) Scan(context.Context) (list []Found, err error) {
	names, paths, err := folders(d.class, "")
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		steps, err := readNumber(filepath.Join(paths[i], "max_brightness"))
		if name = part(name); err != nil || steps < 1 || name == "" {
			continue
		}
		kind, guarantee := s4t.PinDigital, "the LED stays as it was written when lightning-rod dies"
		if steps > 1 {
			kind, guarantee = s4t.PinPWM, fmt.Sprintf("%s; %.0f steps from 0 to 1", guarantee, steps)
		}
		dir := paths[i]
		list = append(list, Found{Pin: outputPin("led", name, "brightness", kind, "", guarantee), Open: func() (Line, error) {
			if !exists(dir) {
				return nil, syscall.ENODEV
			}
			return &led{dir: dir, steps: steps}, nil
		}})
	}
	return list, nil
}

// led is the Line of an LED.
type led struct {
	dir   string
	steps float64
	ours  bool // its trigger was taken off
}

func (l *led) Read() (float64, error) {
	v, err := readNumber(filepath.Join(l.dir, "brightness"))
	return v / l.steps, err
}

// Write takes the LED's trigger off first (disk, heartbeat, kbd-capslock): the
// next blink of one would end the value.
func (l *led) Write(v float64) error {
	order, ok := l.order(v)
	if !ok {
		return syscall.EINVAL
	}
	if trigger := filepath.Join(l.dir, "trigger"); !l.ours && exists(trigger) {
		text, err := readAttribute(trigger)
		if err == nil && !strings.Contains(text, "[none]") {
			err = writeAttribute(trigger, "none")
		}
		if err != nil {
			return err
		}
	}
	if err := writeAttribute(order.Path, order.Text); err != nil {
		return err
	}
	l.ours = true
	return nil
}

// Guarded makes v the brightness.
func (l *led) Guarded(v float64) GuardOrder {
	order, _ := l.order(min(max(v, 0), 1))
	return order
}

func (l *led) order(v float64) (GuardOrder, bool) {
	ok := v >= 0 && v <= 1 && (l.steps > 1 || v == 0 || v == 1)
	return GuardOrder{Path: filepath.Join(l.dir, "brightness"), Text: strconv.FormatFloat(math.Round(v*l.steps), 'f', 0, 64)}, ok
}

func (l *led) Set(settings map[string]string) error { return noSettings(settings) }

func (l *led) Events() <-chan Event { return nil }

// Close leaves the LED as it is.
func (l *led) Close() error { return nil }
