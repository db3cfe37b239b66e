package td

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

func TestCommandsAreActions(t *testing.T) {
	for _, tt := range []struct{ schema, want string }{
		{``, ``},
		{`true`, ``},
		{`{"$schema":"x","type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer","minimum":1}},"additionalProperties":false}`,
			`{"properties":{"n":{"minimum":1,"type":"integer"}},"type":"object"}`},
		{`{"type":["string","null"]}`, `{"oneOf":[{"type":"string"},{"type":"null"}]}`},
		{`{"type":"array","items":{"type":"string"},"maxItems":3}`, `{"items":{"type":"string"},"maxItems":3,"type":"array"}`},
	} {
		if got := string(dataSchema(json.RawMessage(tt.schema))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.schema, got, tt.want)
		}
	}
	round := dataSchema(json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"}}}`))
	if len(round) == 0 || len(round) > 64<<10 {
		t.Errorf("a schema that refers to itself has %d bytes", len(round))
	}
	var thing Thing
	thing.AddCommands([]s4t.Command{{Name: "blink", Description: "Blinks", Params: json.RawMessage(`{"type":"object"}`), Result: json.RawMessage(`{"type":"integer"}`)}})
	b, err := json.Marshal(thing)
	if err != nil || !strings.Contains(string(b), `"actions":{"blink":{"title":"blink","description":"Blinks","input":{"type":"object"},"output":{"type":"integer"},"safe":false,"idempotent":false,"synchronous":true,"forms":[{"href":"commands/blink","contentType":"application/json","op":["invokeaction"],"htv:methodName":"POST"}]}}`) {
		t.Errorf("%s, %v", b, err)
	}
}
