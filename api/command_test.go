package api_test

import (
	"encoding/json"

	"github.com/stack4things/s4t"
)

var markerCommand = s4t.Command{
	Name: "blink", Board: "marker-board", BoardID: "b1", Source: s4t.CommandOfOwner, Description: "Blinks a lamp", Timeout: "30s",
	Params: json.RawMessage(`{"type":"object","properties":{"times":{"type":"integer","minimum":1}},"required":["times"],"additionalProperties":false}`),
	Result: json.RawMessage(`{"type":"integer"}`),
}
