package s4t_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/stack4things/s4t"

// floor says how high each room is: a package imports only lower floors and
// the ground. A room within a room (wamp/router, rtunnel/dial) may import the
// room it is in and its neighbours there.
// ARCHITECTURE.md shows this table.
var floor = map[string]int{
	"wire": 0, "vnet": 0, "gre": 0, "rawio": 0, "descriptors": 0, "lograte": 0, "negotiate": 0, "unit": 0, "samples": 0, "td": 0, "lease": 0, "geo": 0, "ical": 0, "seal": 0,
	"store": 1, "queue": 1, "registration": 1, "wamp": 1, "rtunnel": 1, "vswitch": 1, "link": 1, "fuse": 1, "hal": 1, "plugin": 1, "schema": 1, "terminal": 1,
	"wamp/router": 2, "conductor": 2, "identity": 2, "apiclient": 2, "doctor": 2, "pinfs": 2,
	"api": 3, "dashboard": 3, "wampagent": 3, "tunnelagent": 3, "lightningrod": 3, "nameserver": 3,
	"cloud":        4,
	"cmd/iotronic": 5, "cmd/lightning-rod": 5, "cmd/s4t": 5,
}

// within names the room a package belongs to: the package itself, or the one
// it is nested in.
func within(rel string) string {
	for r := rel; r != "."; r = filepath.Dir(r) {
		if _, ok := floor[r]; ok {
			return r
		}
	}
	return rel
}

type pkg struct {
	ImportPath, Dir  string
	GoFiles, Imports []string
}

func packages(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,Imports"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range packages(t, "./...") {
		rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if rel == "" || strings.HasPrefix(rel, "internal/") || strings.HasPrefix(rel, "e2e") || strings.HasPrefix(rel, "bench") {
			continue // the ground, and the scaffolding of tests and benchmarks
		}
		from, ok := floor[within(rel)]
		if !ok {
			t.Errorf("%s stands on no floor: add it to the table, or to a room that exists", rel)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours || within(to) == within(rel) || strings.HasPrefix(to, "internal/") && from == 5 || to == "internal/tomlfile" {
				continue
			}
			if f, ok := floor[within(to)]; !ok || f >= from {
				t.Errorf("%s (floor %d) imports %s (floor %d)", rel, from, to, f)
			}
		}
	}
}

func TestArchitecturePageShowsTheFloors(t *testing.T) {
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "<!-- floors -->")
	table, _, ok2 := strings.Cut(rest, "<!-- /floors -->")
	if !ok || !ok2 {
		t.Fatal("ARCHITECTURE.md has no floor table between its marks")
	}
	for room, f := range floor {
		found := false
		for _, line := range strings.Split(table, "\n") {
			if strings.HasPrefix(line, fmt.Sprintf("| %d ", f)) && strings.Contains(line, "`"+room+"`") {
				found = true
			}
		}
		if !found {
			t.Errorf("ARCHITECTURE.md does not show %s on floor %d", room, f)
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range packages(t, "./...") {
		documented := false
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || file.Doc != nil
		}
		if len(p.GoFiles) > 0 && !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestTheStoryOfABridge holds that one noun, read through the rooms, tells what
// becomes of a request: each bridge.go begins with its step.
func TestTheStoryOfABridge(t *testing.T) {
	step := regexp.MustCompile(`^Step (\d+) of the paper's Fig\. 3: `)
	told := map[string]bool{}
	for _, glob := range []string{"bridge.go", "*/bridge.go", "cmd/*/bridge.go"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			begin := ""
			if len(file.Comments) > 0 {
				begin = file.Comments[0].Text()
			}
			m := step.FindStringSubmatch(begin)
			if m == nil {
				t.Errorf("%s begins with %q, not with its step of the paper's Fig. 3", name, begin)
				continue
			}
			told[m[1]] = true
		}
	}
	for _, n := range []string{"1", "2", "3", "5", "7", "8"} {
		if !told[n] {
			t.Errorf("no bridge.go tells of step %s", n)
		}
	}
}

// TestTheBoardStaysSmall holds what lightning-rod may link: none of what only
// the cloud needs.
func TestTheBoardStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./cmd/lightning-rod").Output()
	if err != nil {
		t.Skipf("go list -deps: %v", err)
	}
	banned := map[string]string{
		"database/sql":                  "a board keeps files, no database",
		"net/http":                      "it dials one WebSocket; net/http alone costs over 1 MB",
		"github.com/gammazero/nexus":    "its codecs cost 7 MB; package wamp is enough",
		"github.com/danielgtaylor/huma": "a board serves no API",
		"github.com/spf13/cobra":        "pflag is enough",
		module + "/wamp/router":         "the router is the cloud's",
		module + "/store":               "a board keeps files, no database",
		"github.com/prometheus":         "no metrics library on the board",
		module + "/nameserver":          "names are the cloud's to serve",
		"github.com/rabbitmq":           "a board speaks to no broker",
	}
	for _, dep := range strings.Fields(string(out)) {
		for b, why := range banned {
			if dep == b || strings.HasPrefix(dep, b+"/") && b != "net/http" {
				t.Errorf("lightning-rod links %s: %s", dep, why)
			}
		}
	}
}

func TestEverythingIsFormatted(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "*.go").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	files := strings.Fields(string(out))
	sort.Strings(files)
	fmtOut, err := exec.Command("gofmt", append([]string{"-l"}, files...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(fmtOut) > 0 {
		t.Errorf("gofmt would change:\n%s", fmtOut)
	}
}
