package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// TestTheDashboardKnowsTheAPI keeps the document that the dashboard's types are made of
// (dashboard/openapi.json) that of this API. `go test ./api -update` writes it, and then
// `make dashboard` the types.
func TestTheDashboardKnowsTheAPI(t *testing.T) {
	r := newRig(t)
	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", " "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	const file = "../dashboard/openapi.json"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if was, err := os.ReadFile(file); err != nil || !bytes.Equal(was, b.Bytes()) {
		t.Errorf("%s is of another API: go test ./api -run TheDashboardKnows -update, then make dashboard (%v)", file, err)
	}
}
