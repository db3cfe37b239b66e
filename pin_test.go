package s4t

import "testing"

func TestAPinValueIsADecimalNumberOrAWord(t *testing.T) {
	for text, want := range map[string]float64{
		"1": 1, " 0.5\n": 0.5, "-2": -2, "+3": 3, ".5": 0.5, "1e3": 1000, "2.5E-1": 0.25, "on": 1, "High": 1, "TRUE": 1, "off": 0, "low": 0, "false": 0,
	} {
		if got, err := ParsePinValue(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0x1p3", "0x10", "1_000", "1_0.5", "inf", "-Inf", "nan", "infinity", "1e999", "1,5", "1 2", "e", "--1", "yes"} {
		if got, err := ParsePinValue(text); KindOf(err) != Invalid {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}
