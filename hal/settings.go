package hal

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// Bounds of settings.
const (
	maxPeriod   = 24 * time.Hour
	maxDebounce = 10 * time.Second
)

// settings of a pin, parsed. What the hardware knows of them is only text.
type settings struct {
	text      map[string]string // all that the pin has, by key; never changed once it is here
	period    time.Duration
	debounce  time.Duration // of the HAL; 0 where the driver has its own
	threshold float64       // NaN: none
	deadband  float64
	scale     float64
	fallback  string
}

// checkSetting reads the value of a key and returns it as it is shown.
func checkSetting(key, text string) (string, error) {
	bad := func(hint string) (string, error) {
		return "", s4t.Errorf(s4t.Invalid, "", hint, "%q is no %s of a pin", s4t.Line(text, s4t.MaxName), key)
	}
	words := map[string][]string{
		s4t.PinKeyDirection: {s4t.PinIn, s4t.PinOut},
		s4t.PinKeyEdge:      {"none", "rising", "falling", "both"},
		s4t.PinKeyBias:      {"as-is", "disabled", "pull-up", "pull-down"},
		s4t.PinKeyFallback:  {s4t.FallbackHold, s4t.FallbackLow, s4t.FallbackHigh},
	}[key]
	if words != nil {
		if !slices.Contains(words, text) {
			return bad("write one of " + join(words))
		}
		return text, nil
	}
	switch key {
	case s4t.PinKeyPeriod, s4t.PinKeyDebounce:
		d, err := time.ParseDuration(text)
		switch {
		case err != nil || d < 0:
			return bad("write a time as 500ms, 10s or 0")
		case key == s4t.PinKeyPeriod && d != 0 && (d < s4t.MinPinPeriod || d > maxPeriod):
			return bad("write 0, or a time from 1ms to 24h")
		case key == s4t.PinKeyDebounce && d > maxDebounce:
			return bad("write a time up to 10s")
		}
		return d.String(), nil
	case s4t.PinKeyThreshold, s4t.PinKeyDeadband, s4t.PinKeyScale:
		if text == "" && key == s4t.PinKeyThreshold {
			return "", nil
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return bad("write a number")
		}
		switch {
		case key == s4t.PinKeyDeadband && v < 0:
			return bad("write 0, or a number greater than it")
		case key == s4t.PinKeyScale && v == 0:
			return bad("write a number other than 0")
		}
		return s4t.FormatPinValue(v), nil
	case s4t.PinKeyLabel:
		if text == "" {
			return "", nil
		}
		return text, s4t.ValidPinPart(text)
	}
	return "", s4t.Errorf(s4t.Invalid, "", "use "+join(s4t.PinKeys), "there is no setting %q of pins", s4t.Line(key, s4t.MaxName))
}

// join lists words for people.
func join(words []string) string {
	s := ""
	for i, w := range words {
		if i > 0 {
			s += ", "
		}
		s += w
	}
	return s
}

// parseSettings makes settings of texts that were checked. driver are the keys
// that the hardware knows.
func parseSettings(text map[string]string, driver []string) settings {
	s := settings{text: text, scale: 1, threshold: math.NaN(), fallback: s4t.FallbackHold}
	s.period, _ = time.ParseDuration(text[s4t.PinKeyPeriod]) // "" is 0
	if !slices.Contains(driver, s4t.PinKeyDebounce) {
		s.debounce, _ = time.ParseDuration(text[s4t.PinKeyDebounce])
	}
	if v, err := strconv.ParseFloat(text[s4t.PinKeyThreshold], 64); err == nil {
		s.threshold = v
	}
	s.deadband, _ = strconv.ParseFloat(text[s4t.PinKeyDeadband], 64)
	if v, err := strconv.ParseFloat(text[s4t.PinKeyScale], 64); err == nil && v != 0 {
		s.scale = v
	}
	if f := text[s4t.PinKeyFallback]; f != "" {
		s.fallback = f
	}
	return s
}

// keysOf returns the keys of a pin: those that its driver knows and those that the HAL
// does for every pin of its kind.
func keysOf(pin s4t.Pin) []string {
	numeric := pin.Kind != s4t.PinDigital
	output := pin.Writable || slices.Contains(pin.Keys, s4t.PinKeyDirection)
	ours := map[string]bool{
		s4t.PinKeyPeriod: true, s4t.PinKeyLabel: true, s4t.PinKeyFallback: output,
		s4t.PinKeyThreshold: numeric, s4t.PinKeyDeadband: numeric, s4t.PinKeyScale: numeric,
		s4t.PinKeyDebounce: !numeric && pin.Direction == s4t.PinIn,
	}
	var keys []string
	for _, k := range s4t.PinKeys {
		if ours[k] || slices.Contains(pin.Keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// hardware are the keys that only a driver does.
var hardware = []string{s4t.PinKeyDirection, s4t.PinKeyEdge, s4t.PinKeyBias, s4t.PinKeyDebounce}

// forDriver picks what of a change is the driver's.
func forDriver(change map[string]string, driver []string) map[string]string {
	out := map[string]string{}
	for k, v := range change {
		if slices.Contains(hardware, k) && slices.Contains(driver, k) {
			out[k] = v
		}
	}
	return out
}

// defaultSettings is what a pin of these keys has where nobody says anything.
func defaultSettings(found Found, keys []string) map[string]string {
	text := map[string]string{}
	for _, k := range keys {
		switch k {
		case s4t.PinKeyPeriod, s4t.PinKeyDebounce:
			text[k] = "0s"
		case s4t.PinKeyDeadband:
			text[k] = "0"
		case s4t.PinKeyScale:
			text[k] = "1"
		case s4t.PinKeyFallback:
			text[k] = s4t.FallbackHold
		case s4t.PinKeyDirection:
			text[k] = found.Pin.Direction
		default:
			text[k] = ""
		}
	}
	maps.Copy(text, found.Pin.Settings)
	if found.Period > 0 && text[s4t.PinKeyPeriod] == "0s" {
		text[s4t.PinKeyPeriod] = found.Period.String()
	}
	if text[s4t.PinKeyLabel] == "" {
		text[s4t.PinKeyLabel] = found.Pin.Label
	}
	for k := range text {
		if !slices.Contains(keys, k) {
			delete(text, k)
		}
	}
	return text
}

// counts reports whether a value is a sample, after the newest one that was, and the
// value before. The first is always one.
func (s *settings) counts(v, before, counted float64) bool {
	if !math.IsNaN(s.threshold) && (before < s.threshold) == (v < s.threshold) {
		return false
	}
	return s.deadband <= 0 || math.Abs(v-counted) > s.deadband
}
