package hal

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/stack4things/s4t"
)

// pwmDriver finds the PWM outputs of the board (Linux,
// Documentation/driver-api/pwm.rst, "Using PWMs with the sysfs interface"):
// pwm/fe20c000.pwm/0, by the device that has them, for the numbers of chips follow
// the order in which the kernel found them; by that number where the device
// has several. A value is the duty cycle, from 0 to 1. The period is the channel's own: what somebody has set stays, and
// where there is none it becomes 1 ms.
type pwmDriver struct{ class string }

func newPWM(sys string) Driver { return pwmDriver{filepath.Join(sys, "class", "pwm")} }

const (
	pwmPeriod   = 1_000_000 // ns, where the channel has none
	pwmChannels = 64        // of one chip, at most
)

// Name is pwm.
func (pwmDriver) Name() string { return "pwm" }

// Scan lists the channels, also those that nobody uses. It exports none.
func (d pwmDriver) Scan(context.Context) (list []Found, err error) {
	numbers, paths, err := folders(d.class, "pwmchip")
	if err != nil {
		return nil, err
	}
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = part(parent(path))
	}
	for i, device := range different(names, numbers) {
		n, err := readNumber(filepath.Join(paths[i], "npwm"))
		if err != nil {
			continue // it went
		}
		for channel := range min(int(n), pwmChannels) {
			chip, number := paths[i], strconv.Itoa(channel)
			pin := outputPin("pwm", device, number, s4t.PinPWM, "", "the output goes on with its duty cycle when lightning-rod dies")
			list = append(list, Found{Pin: pin, Open: func() (Line, error) { return openPWM(chip, number) }})
		}
	}
	return list, nil
}

// pwm is the Line of a channel.
type pwm struct {
	dir    string
	period float64 // ns
	on     bool
}

// openPWM exports the channel, where nobody has. It stays exported for ever: taking
// it back can end the output.
func openPWM(chip, channel string) (Line, error) {
	l := &pwm{dir: filepath.Join(chip, "pwm"+channel)}
	if !exists(l.dir) {
		if err := writeAttribute(filepath.Join(chip, "export"), channel); err != nil && !(errors.Is(err, syscall.EBUSY) && exists(l.dir)) {
			return nil, err
		}
	}
	enabled, err := readNumber(filepath.Join(l.dir, "enable"))
	if err != nil {
		return nil, err
	}
	l.on = enabled != 0
	l.period, err = readNumber(filepath.Join(l.dir, "period"))
	return l, err
}

// Read is 0 for an output that is off.
func (l *pwm) Read() (float64, error) {
	on, err := readNumber(filepath.Join(l.dir, "enable"))
	if err != nil || on == 0 {
		return 0, err
	}
	period, err := readNumber(filepath.Join(l.dir, "period"))
	if err != nil || period <= 0 {
		return 0, err
	}
	duty, err := readNumber(filepath.Join(l.dir, "duty_cycle"))
	return duty / period, err
}

func (l *pwm) Write(v float64) error {
	if !(v >= 0 && v <= 1) {
		return syscall.EINVAL
	}
	if l.period <= 0 {
		if err := writeAttribute(filepath.Join(l.dir, "period"), strconv.Itoa(pwmPeriod)); err != nil {
			return err
		}
		l.period = pwmPeriod
	}
	order := l.Guarded(v)
	if err := writeAttribute(order.Path, order.Text); err != nil {
		return err
	}
	if !l.on {
		if err := writeAttribute(filepath.Join(l.dir, "enable"), "1"); err != nil {
			return err
		}
		l.on = true
	}
	return nil
}

// Guarded makes v the duty cycle.
func (l *pwm) Guarded(v float64) GuardOrder {
	duty := math.Round(min(max(v, 0), 1) * l.period)
	return GuardOrder{Path: filepath.Join(l.dir, "duty_cycle"), Text: strconv.FormatFloat(duty, 'f', 0, 64)}
}

func (l *pwm) Set(settings map[string]string) error { return noSettings(settings) }

func (l *pwm) Events() <-chan Event { return nil }

// Close leaves the output as it is.
func (l *pwm) Close() error { return nil }
