package schema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// suiteRemotes are the documents that some of the tests refer to; in use nothing is
// loaded.
type suiteRemotes struct{ dir string }

func (r suiteRemotes) Load(url string) (any, error) {
	name, ok := strings.CutPrefix(url, "http://localhost:1234/")
	if !ok {
		return nothing{}.Load(url)
	}
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// TestTheOfficialSuite: all tests of draft 2020-12 that are required.
func TestTheOfficialSuite(t *testing.T) {
	files, err := filepath.Glob("testdata/suite/tests/*.json")
	if err != nil || len(files) < 46 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	ran := 0
	for _, file := range files {
		if filepath.Base(file) == "format.json" { // it says that formats are not asserted: ours are
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Description string
			Schema      json.RawMessage
			Tests       []struct {
				Description string
				Data        json.RawMessage
				Valid       bool
			}
		}
		if err := json.Unmarshal(text, &groups); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range groups {
			s, err := compile(g.Schema, suiteRemotes{"testdata/suite/remotes"})
			if err != nil {
				t.Errorf("%s: %s: %v", file, g.Description, err)
				continue
			}
			for _, test := range g.Tests {
				ran++
				if err := s.Validate(test.Data); (err == nil) != test.Valid {
					t.Errorf("%s: %s: %s: %v", file, g.Description, test.Description, err)
				}
			}
		}
	}
	t.Logf("%d tests of %d files", ran, len(files))
}
