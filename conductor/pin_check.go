package conductor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// askOp is what was attempted, for an error: `write pin gpio/gpiochip0/17 of
// board "gate"`.
func askOp(ask wire.PinAsk, board string) string {
	names := append(slices.Clone(ask.Pins[:min(len(ask.Pins), 2)]), valueNames(ask)...)
	switch {
	case len(names) == 1:
		return fmt.Sprintf("%s pin %s of board %q", s4t.Line(ask.Do, s4t.MaxName), s4t.Line(names[0], 3*s4t.MaxName), s4t.Line(board, s4t.MaxName))
	default:
		return fmt.Sprintf("%s pins of board %q", s4t.Line(ask.Do, s4t.MaxName), s4t.Line(board, s4t.MaxName))
	}
}

// valueNames are the pins that are to be written, sorted.
func valueNames(ask wire.PinAsk) []string {
	names := make([]string, 0, len(ask.Values))
	for name := range ask.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkAsk checks a question or an order of who is not trusted, and leaves in it
// only what it may say.
func checkAsk(op string, ask wire.PinAsk) (wire.PinAsk, error) {
	said := ask
	ask = wire.PinAsk{Do: said.Do}
	most := s4t.MaxPinWatch
	least := 1
	switch said.Do {
	case wire.PinList:
		most, least = s4t.MaxPins, 0
	case wire.PinRead:
	case wire.PinHistory:
		ask.Since, ask.After, ask.Limit = said.Since, said.After, said.Limit
		if ask.Limit == 0 {
			ask.Limit = wire.MaxSamples
		}
		if ask.Limit < 1 || ask.Limit > wire.MaxSamples || len(ask.After) > s4t.MaxPins {
			return ask, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("ask for 1 to %d samples", wire.MaxSamples), "%d samples cannot be asked for", ask.Limit)
		}
	case wire.PinWrite:
		most, least = 0, 0
		ask.Values, ask.For, ask.Priority, ask.Fence = said.Values, said.For, said.Priority, said.Fence
		if n := len(ask.Values); n < 1 || n > s4t.MaxPinWatch || n > 1 && ask.For > 0 {
			return ask, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("write 1 to %d pins at a time, and one for a time", s4t.MaxPinWatch), "%d values were given", n)
		}
	case wire.PinSet:
		most, ask.Settings = 1, said.Settings
		if err := checkSettings(op, ask.Settings); err != nil {
			return ask, err
		}
	case wire.PinClaim:
		most, ask.For, ask.Priority = 1, said.For, said.Priority
	case wire.PinRelease:
		most, ask.Priority = 1, said.Priority
	default:
		return ask, s4t.Errorf(s4t.Invalid, op, "", "nothing of this name is asked of pins")
	}
	if n := len(said.Pins); n < least || n > most && most > 0 {
		return ask, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("name %d to %d", least, most), "%d pins are named", n)
	}
	if most > 0 {
		ask.Pins = said.Pins
	}
	for _, name := range append(valueNames(ask), ask.Pins...) {
		if err := checkPinRef(op, name); err != nil {
			return ask, err
		}
	}
	if ask.For < 0 || ask.For > s4t.MaxActuation {
		return ask, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use up to %v", s4t.MaxActuation), "a time of %v is not possible", ask.For)
	}
	if ask.Priority < 0 || ask.Priority > s4t.MaxPriority {
		return ask, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use 0 to %d", s4t.MaxPriority), "a priority of %d is not possible", ask.Priority)
	}
	return ask, nil
}

// checkPinRef checks what names a pin: its name or its label.
func checkPinRef(op, name string) error {
	if strings.Contains(name, "/") {
		return s4t.ValidPinName(name)
	}
	if err := s4t.ValidPinPart(name); err != nil {
		return s4t.Errorf(s4t.Invalid, op, "write DRIVER/DEVICE/PIN, or the pin's label", "%q is no name of a pin", s4t.Line(name, s4t.MaxName))
	}
	return nil
}

// checkSettings checks keys, and the form of values: what a value may be, the
// board knows.
func checkSettings(op string, settings map[string]string) error {
	for key, value := range settings {
		if !slices.Contains(s4t.PinKeys, key) {
			return s4t.Errorf(s4t.Invalid, op, "use one of "+strings.Join(s4t.PinKeys, ", "), "there is no setting %q", s4t.Line(key, s4t.MaxName))
		}
		if s4t.Line(value, s4t.MaxLabelText) != value {
			return s4t.Errorf(s4t.Invalid, op, "", "the value of %s is too long, or has characters that do not print", key)
		}
	}
	if len(settings) == 0 {
		return s4t.Errorf(s4t.Invalid, op, "write KEY=VALUE", "no setting is given")
	}
	return nil
}
