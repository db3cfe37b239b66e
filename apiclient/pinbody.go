package apiclient

import (
	"time"

	"github.com/stack4things/s4t"
)

// PinWrite is the body of PUT /v1/boards/{board}/pins/{pin}; a bare number or
// boolean is one, too.
type PinWrite struct {
	Value    float64 `json:"value" doc:"What the pin is to be: 0 or 1 of a digital one"`
	For      string  `json:"for,omitempty" maxLength:"32" example:"10s" doc:"Then the pin goes back to the value before; at most 24h. The answer is an operation, which ends with it"`
	Priority int     `json:"priority,omitempty" minimum:"0" maximum:"100" doc:"A higher one takes the pin from who has it; 0 by default"`
	Fence    int64   `json:"fence,omitempty" minimum:"0" doc:"Write under this claim only, as its lease said it; 409 (stale) where it has ended"`
}

// PinsWrite is the body of PUT /v1/boards/{board}/pins.
type PinsWrite struct {
	Values   map[string]float64 `json:"values" minProperties:"1" maxProperties:"256" doc:"By pin. All are written, or, where one is refused, none"`
	Priority int                `json:"priority,omitempty" minimum:"0" maximum:"100" doc:"A higher one takes the pins from who has them; 0 by default"`
	Fence    int64              `json:"fence,omitempty" minimum:"0" doc:"Write under this claim only"`
}

// PinHold is the body of POST /v1/boards/{board}/pins/{pin}/claim.
type PinHold struct {
	For      string `json:"for,omitempty" maxLength:"32" example:"10m" doc:"How long the claim lasts, 10m by default, at most 24h; claim again to extend it"`
	Priority int    `json:"priority,omitempty" minimum:"0" maximum:"100" doc:"A higher one takes the pin from who has it; 0 by default"`
}

// EventBoard is the name of an event that a stream of samples has besides the
// samples: it is a [PinNotice].
const EventBoard = "board"

// PinNotice says why the samples of a board's pins do not come, or that they do
// again.
type PinNotice struct {
	Board  string          `json:"board"`
	Status s4t.BoardStatus `json:"status"`
	Detail string          `json:"detail,omitempty"` // why not; none: they come
	At     time.Time       `json:"at"`
}
