package wire

import (
	"encoding/json"
	"testing"
)

func TestIJSON(t *testing.T) {
	for text, good := range map[string]bool{
		`{}`: true, `"a"`: true, `3`: true, `{"a":"a","b":["a","a",{"a":1}],"c":{"a":{"b":1}}}`: true, `{"\ud83d\ude00":"\\ud800","b":"é"}`: true,
		`{"a":1,"a":2}`: false, `{"a":1,"\u0061":2}`: false, `[{"b":{"a":[],"c":{},"a":0}}]`: false, `{"a":{"a":1},"b":0,"a":0}`: false,
		`"\ud800"`: false, `{"\udc00":1}`: false, `"\ud800\ud800"`: false, `"\\\udc00"`: false, `["\ud83d\ude00\ude00"]`: false,
	} {
		if err := IJSON([]byte(text)); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzIJSON(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":"\ud83d\ude00"}],"c":{"a":1,"a":2}}`))
	f.Add([]byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		IJSON(text)
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		if err := IJSON(Encode(v)); err != nil { // what Go writes is so
			t.Errorf("%q: %v", text, err)
		}
	})
}
