package td

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func kitchen() (s4t.Board, []s4t.Pin, *time.Time) {
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.FixedZone("", 3600))
	return s4t.Board{
			ID: "6ba7b810-9dad-41d1-80b4-00c04fd430c8", Name: "kitchen", Type: "rpi4", Labels: map[string]string{"room": "kitchen", "floor": "1"},
			Location: &s4t.Location{Latitude: 38.19, Longitude: 15.55, Altitude: 12},
		}, []s4t.Pin{
			{Name: "led/board/heartbeat", Driver: "led", Device: "board", Label: "lamp", Kind: s4t.PinDigital, Writable: true, Direction: s4t.PinOut, Guarantee: "the kernel keeps the last value"},
			{Name: "pwm/pwmchip0/0", Driver: "pwm", Device: "pwmchip0", Kind: s4t.PinPWM, Writable: true, Direction: s4t.PinOut},
			{Name: "sensor/cpu/temp1", Driver: "sensor", Device: "cpu", Kind: s4t.PinSensor, Direction: s4t.PinIn, Unit: "degC"},
			{Name: "gpio/gpiochip0/17", Driver: "gpio", Device: "gpiochip0", Kind: s4t.PinDigital, Direction: s4t.PinIn},
		}, &at
}

// TestTheDescriptionIsAContract: consumers keep descriptions, so that each change
// of them is seen. The public schema is looked at in e2e.
func TestTheDescriptionIsAContract(t *testing.T) {
	b, pins, at := kitchen()
	for file, thing := range map[string]Thing{
		"testdata/kitchen.golden":   Of("https://cloud.example:8812/", b, pins, at),
		"testdata/bare.golden":      Of("https://cloud.example:8812", s4t.Board{ID: b.ID, Name: "bare"}, nil, nil),
		"testdata/directory.golden": Directory("https://cloud.example:8812"),
	} {
		got, err := json.MarshalIndent(thing, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the description is now\n%s", file, got)
		}
	}
}

func TestTheSamePinsGiveTheSameBytes(t *testing.T) {
	b, pins, at := kitchen()
	first, _ := json.Marshal(Of("https://c", b, pins, at))
	pins[0], pins[3] = pins[3], pins[0]
	for range 20 {
		if again, _ := json.Marshal(Of("https://c", b, pins, at)); !bytes.Equal(first, again) {
			t.Fatalf("%s\n%s", first, again)
		}
	}
}

// TestValuesAndStateAreNotInIt: a description is kept for long.
func TestValuesAndStateAreNotInIt(t *testing.T) {
	b, pins, at := kitchen()
	before, _ := json.Marshal(Of("https://c", b, pins, at))
	v := 21.5
	for i := range pins {
		pins[i].Value, pins[i].At, pins[i].Lease, pins[i].Problem = &v, at, &s4t.PinLease{Holder: "user alice"}, "broken"
	}
	b.Status, b.Epoch = s4t.BoardOnline, 7
	if after, _ := json.Marshal(Of("https://c", b, pins, at)); !bytes.Equal(before, after) {
		t.Errorf("%s\n%s", before, after)
	}
}

func TestTheIdOfAThingNamesItsBoard(t *testing.T) {
	b, _, _ := kitchen()
	for _, ref := range []string{ID(b.ID), string(b.ID)} {
		if got := BoardRef(ref); got != string(b.ID) {
			t.Errorf("%s: %s", ref, got)
		}
	}
	if got := BoardRef("kitchen"); got != "kitchen" {
		t.Error(got)
	}
}
