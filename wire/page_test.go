package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stack4things/s4t/wire"
)

// TestARawListIsAList holds that both ways of writing a list are read by both ways of reading one:
// processes of two versions share a queue.
func TestARawListIsAList(t *testing.T) {
	for _, want := range []wire.List[string]{
		{},
		{Items: []string{}},
		{Items: []string{`a "quoted" one`, `,"items":[`, "<é>"}, Next: `n","items":["x"]}`, EventID: 7},
		{Items: []string{"]}"}, EventID: 1 << 60},
	} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var raw, again wire.RawList
		if err := raw.ParseRaw(text); err != nil {
			t.Fatal(err)
		}
		written := raw.AppendRaw([]byte("before"))[len("before"):]
		if err := again.ParseRaw(written); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		var items []string
		if err := json.Unmarshal(again.Items, &items); err != nil || strings.Join(items, "|") != strings.Join(want.Items, "|") || again.Next != want.Next || again.EventID != want.EventID {
			t.Errorf("%s is read as %+v, %v", written, again, err)
		}
		var typed wire.List[string]
		if err := json.Unmarshal(written, &typed); err != nil || strings.Join(typed.Items, "|") != strings.Join(want.Items, "|") || typed.Next != want.Next || typed.EventID != want.EventID {
			t.Errorf("%s is read as %+v, %v", written, typed, err)
		}
	}
	for _, text := range []string{"", "{", "[]", `{"event_id":1,"next":"","items":[}`, `{"event_id":1,"items":[`, `{"event_id":"x","items":[]}`} {
		if err := new(wire.RawList).ParseRaw([]byte(text)); err == nil {
			t.Errorf("%q is a list", text)
		}
	}
}
