package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// bodies are the schemas that belong to the API itself.
var bodies = regexp.MustCompile("(Create|Update|Change|Open|Expose|Password|Write|Hold)$|^(Login|Problem|Version|StreamGrant)$")

// TestRoutesAreAContract shows each change of a route, of its parameters or of
// the body of a request in review. `go test ./api -update` writes the file.
func TestRoutesAreAContract(t *testing.T) {
	r := newRig(t)
	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	var d struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
			RequestBody *struct {
				Content map[string]struct{ Schema schema }
			}
			Responses map[string]struct {
				Content map[string]struct{ Schema schema }
				Headers map[string]any
			}
		}
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	say := func(s schema) string {
		many := ""
		if s.Items != nil {
			many, s = "[]", *s.Items
		}
		return many + strings.TrimPrefix(s.Ref, "#/components/schemas/")
	}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			op := d.Paths[path][method]
			fmt.Fprintf(&b, "%s %s: %s", strings.ToUpper(method), path, op.OperationID)
			for _, p := range op.Parameters {
				if p.In != "path" {
					fmt.Fprintf(&b, " %s(%s)", p.Name, p.In)
				}
			}
			if op.RequestBody != nil {
				fmt.Fprintf(&b, " takes %s", say(op.RequestBody.Content["application/json"].Schema))
			}
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				if status < "400" {
					fmt.Fprintf(&b, " answers %s", status)
					for _, c := range slices.Sorted(maps.Keys(op.Responses[status].Content)) {
						fmt.Fprintf(&b, " %s", say(op.Responses[status].Content[c].Schema))
					}
					for _, h := range slices.Sorted(maps.Keys(op.Responses[status].Headers)) {
						fmt.Fprintf(&b, " %s(header)", h)
					}
				}
			}
			b.WriteByte('\n')
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		if !bodies.MatchString(name) {
			continue // the nouns of the root package may grow
		}
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(slices.Sorted(maps.Keys(d.Components.Schemas[name].Properties)), " "))
	}
	file := filepath.Join("testdata", "routes.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the API has changed; if that is meant: go test ./api -update\n%s", b.String())
	}
}
