package conductor

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestBoardsByCountAreTheNearestThatHaveThePin: distance, pins and what is booked, in one booking.
func TestBoardsByCountAreTheNearestThatHaveThePin(t *testing.T) {
	l := newLab(t)
	at := func(latitude float64) *s4t.Location { return &s4t.Location{Latitude: latitude, Longitude: 15} }
	for name, latitude := range map[string]float64{"here": 38, "near": 38.01, "bare": 38.002, "booked": 38.001, "far": 38.2} {
		b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Labels: map[string]string{"kind": "lamp"}, Location: at(latitude)})
		if name == "bare" {
			continue
		}
		pins, err := json.Marshal([]s4t.Pin{{Name: "gpio/chip0/17", Label: "lamp"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.SetBoardPins(b.ID, pins, tx.Now()) }); err != nil {
			t.Fatal(err)
		}
	}
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "lamps", Labels: map[string]string{"kind": "lamp"}})
	call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.member, Boards: []string{"booked"}})
	want := wire.LeaseCreate{Caller: l.foreign, Count: 2, Labels: map[string]string{"kind": "lamp"}, Near: at(38), Within: 30, Pin: "gpio/*/17"}
	got := call[s4t.Lease](l, wire.MethodLeaseCreate, want)
	var names []string
	for _, b := range got.Boards {
		names = append(names, b.Name)
	}
	if !slices.Equal(names, []string{"here", "near"}) {
		t.Errorf("booked %v", names)
	}
	for name, req := range map[string]wire.LeaseCreate{
		"more than have the pin":    {Caller: l.foreign, Count: 2, Near: at(38), Within: 30, Pin: "lamp"},
		"none within the distance":  {Caller: l.foreign, Count: 1, Near: at(-38), Within: 30},
		"a pin that no board has":   {Caller: l.foreign, Count: 1, Pin: "pwm/*"},
		"a label that no board has": {Caller: l.foreign, Count: 1, Labels: map[string]string{"kind": "gate"}},
	} {
		if _, err := try[s4t.Lease](l, wire.MethodLeaseCreate, req); s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, req := range map[string]wire.LeaseCreate{
		"no pattern":     {Caller: l.foreign, Count: 1, Pin: "[a"},
		"of some boards": {Caller: l.foreign, Boards: []string{"far"}, Pin: "lamp"},
	} {
		if _, err := try[s4t.Lease](l, wire.MethodLeaseCreate, req); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
