package s4t

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of pins.
const (
	MaxPins       = 1024             // of one board
	MaxPinWatch   = 256              // pins that one watcher names; none named: all of the board
	MaxPinHistory = 10 << 20         // bytes of samples that a board keeps, of all its pins together
	PinHistory    = 24 * time.Hour   // how far back it keeps them
	MaxActuation  = 24 * time.Hour   // of a value that is written for a time, and of a claim
	MaxPriority   = 100              // of a claim or a write; the least, and the default, is 0
	PinAnswerTime = 2 * time.Second  // a board that does not answer within it counts as away
	MinPinPeriod  = time.Millisecond // of sampling
)

// PinKind says what the values of a pin are.
type PinKind string

// The kinds of pins.
const (
	PinDigital PinKind = "digital" // 0 or 1
	PinAnalog  PinKind = "analog"  // a voltage, a current, a raw number of a converter
	PinPWM     PinKind = "pwm"     // duty cycle, 0 to 1
	PinSensor  PinKind = "sensor"  // a quantity with a unit
)

// Directions of a pin.
const (
	PinIn  = "in"
	PinOut = "out"
)

// What a pin falls back to when its claim ends, when the board starts and when
// lightning-rod dies.
const (
	FallbackHold = "hold" // it stays as it is
	FallbackLow  = "low"  // 0
	FallbackHigh = "high" // 1
)

// Keys of the settings of a pin. Which of them a pin has, its Keys say.
const (
	PinKeyDirection = "direction" // in, out
	PinKeyEdge      = "edge"      // none, rising, falling, both
	PinKeyBias      = "bias"      // as-is, disabled, pull-up, pull-down
	PinKeyDebounce  = "debounce"  // duration; 0 is none
	PinKeyPeriod    = "period"    // duration between samples; 0: it is read when it is asked for
	PinKeyThreshold = "threshold" // a sample counts when the value crosses it; "" is none
	PinKeyDeadband  = "deadband"  // a sample counts when the value moved by more; 0 is none
	PinKeyScale     = "scale"     // value = raw * scale
	PinKeyLabel     = "label"     // the name in by-name, unique on the board; "" is none
	PinKeyFallback  = "fallback"  // hold, low, high
)

// PinKeys are all keys, in the order in which they are shown.
var PinKeys = []string{PinKeyDirection, PinKeyEdge, PinKeyBias, PinKeyDebounce, PinKeyPeriod, PinKeyThreshold, PinKeyDeadband, PinKeyScale, PinKeyLabel, PinKeyFallback}

// Pin is one input or output of a board, or one sensor.
type Pin struct {
	Name      string            `json:"name"`   // DRIVER/DEVICE/PIN, unique on the board
	Driver    string            `json:"driver"` // gpio, adc, sensor, pwm, led, onewire, sim
	Device    string            `json:"device"`
	Label     string            `json:"label,omitempty"` // its name in by-name
	Kind      PinKind           `json:"kind"`
	Writable  bool              `json:"writable"`  // now: an output
	Direction string            `json:"direction"` // PinIn, PinOut
	Value     *float64          `json:"value"`     // of the newest sample; nil: none yet
	Unit      string            `json:"unit"`
	At        *time.Time        `json:"at"` // of the newest sample
	PeriodMS  float64           `json:"period_ms"`
	Lease     *PinLease         `json:"lease"`               // nil: it is free
	Settings  map[string]string `json:"settings,omitempty"`  // by key; only those of Keys
	Keys      []string          `json:"keys,omitempty"`      // settings that can be changed on this pin
	Guarantee string            `json:"guarantee,omitempty"` // of an output: what its driver can promise of the fallback, one line
	Problem   string            `json:"problem,omitempty"`   // why it has no value now
}

// PinLease says who has a pin: by a claim, or by a value written for a time.
type PinLease struct {
	Holder   string    `json:"holder"` // "user alice", "board gate", "local 1000"
	Priority int       `json:"priority"`
	Fence    int64     `json:"fence"` // grows with each claim; who names an older one is refused (Stale)
	Until    time.Time `json:"until"`
}

// Sample is a value of a pin at a time. Seq counts the samples of a pin since
// lightning-rod started: a gap is what was lost or merged.
type Sample struct {
	Pin    string    `json:"pin"` // Pin.Name
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"` // of an edge: the kernel's
	Value  float64   `json:"value"`
	Merged uint64    `json:"merged,omitempty"` // samples of the pin before this one that the reader does not get: it, or the link to it, was too slow
}

// Newer reports whether a sample of a pin comes after another. A lower Seq at a later
// time is of a lightning-rod that began anew; the same Seq is the same sample, whatever
// the clock that its time was taken from has done since.
func (s Sample) Newer(than Sample) bool {
	return s.Seq > than.Seq || s.Seq < than.Seq && s.At.After(than.At)
}

// ParsePinValue reads a value as people write it: a decimal number, or a word for 0 and
// 1. The value of a pin is never infinite or no number.
func ParsePinValue(text string) (float64, error) {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "low", "off", "false":
		return 0, nil
	case "high", "on", "true":
		return 1, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789+-.eE") != "" { // strconv reads hexadecimal ones, inf and nan, too
		return 0, Errorf(Invalid, "", "write a number, or on or off", "%q is no value of a pin", Line(text, MaxName))
	}
	return v, nil
}

// FormatPinValue writes a value as the tree and the tables show it.
func FormatPinValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// ValidPinName checks DRIVER/DEVICE/PIN, as drivers make it.
func ValidPinName(name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return Errorf(Invalid, "name a pin", "write DRIVER/DEVICE/PIN", "%q is no name of a pin", Line(name, 3*MaxName))
	}
	for _, p := range parts {
		if err := ValidPinPart(p); err != nil {
			return err
		}
	}
	return nil
}

// ValidPinPart checks a part of a pin's name, or its label: 1 to [MaxName]
// characters of a-z A-Z 0-9 . _ : @ + -, not . and not "..".
func ValidPinPart(part string) error {
	ok := part != "" && part != "." && part != ".." && len(part) <= MaxName
	for i := 0; ok && i < len(part); i++ {
		c := part[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:@+-", c) >= 0
	}
	if !ok {
		return Errorf(Invalid, "name a pin", fmt.Sprintf("use 1 to %d of the characters a-z A-Z 0-9 . _ : @ + -", MaxName), "%q cannot be a part of a pin's name", Line(part, MaxName))
	}
	return nil
}
