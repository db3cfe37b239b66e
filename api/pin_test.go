package api_test

import (
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

var (
	longAgo   = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	markerPin = s4t.Pin{Name: "sim/demo/marker", Driver: "sim", Device: "demo", Kind: s4t.PinSensor, Unit: "V"}
)

// pins answers pin.ask as the real one does, for a board with one pin. Caller
// holds mu.
func (f *fakeConductor) pins(caller wire.Caller, ask wire.PinAsk, sees bool) ([]byte, error) {
	changes := ask.Do != wire.PinList && ask.Do != wire.PinRead && ask.Do != wire.PinHistory
	switch {
	case changes && !caller.Role.Covers(s4t.RoleMember):
		return nil, s4t.Errorf(s4t.Forbidden, "pin", "", "the role %s does not allow it", caller.Role)
	case !sees:
		return nil, s4t.Errorf(s4t.NotFound, "pin", "", "it does not exist")
	case changes:
		f.changes++
	}
	a := wire.PinAnswer{Pins: []s4t.Pin{markerPin}}
	switch {
	case ask.Do == wire.PinRead || ask.Do == wire.PinHistory:
		a = wire.PinAnswer{Samples: []s4t.Sample{{Pin: markerPin.Name, Seq: 7, At: longAgo, Value: 2.5}}, More: ask.Limit == 1}
	case ask.Do == wire.PinWrite && ask.For > 0:
		a = wire.PinAnswer{Operation: &s4t.Operation{ID: "o1", Kind: "pin.write", Object: "b1"}}
	}
	return json.Marshal(a)
}
