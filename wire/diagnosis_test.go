package wire

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// doctorPage is the page that lists the diagnoses for people; the table
// between its marks is written by this test (-update).
const doctorPage = "../docs/doctor.md"

func TestDoctorPageListsEveryDiagnosis(t *testing.T) {
	const begin, end = "<!-- diagnoses -->\n", "<!-- /diagnoses -->"
	b, err := os.ReadFile(doctorPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks %q", doctorPage, begin)
	}
	var want strings.Builder
	want.WriteString("| id | check | level | certain | what the doctor sees | what to do |\n|---|---|---|---|---|---|\n")
	for _, d := range Diagnoses() {
		certain := "likely"
		if d.Certain {
			certain = "certain"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s | %s |\n", d.ID, d.Check, d.Level, certain, escape(d.Seen), escape(d.Cure))
	}
	if table == want.String() {
		return
	}
	if *update {
		if err := os.WriteFile(doctorPage, []byte(head+begin+want.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code says: run go test ./wire -update", doctorPage)
}

func escape(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }

// ids returns the constants of diagnosis.go by their names.
func ids(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "diagnosis.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					found[v.Names[0].Name] = text
				}
			}
		}
	}
	return found
}

func TestDiagnosesAreWhole(t *testing.T) {
	names := ids(t)
	seen := map[string]bool{}
	for _, d := range Diagnoses() {
		if seen[d.ID] || d.Check == "" || d.Seen == "" || d.Cure == "" || d.Level != LevelError && d.Level != LevelWarning {
			t.Errorf("%+v: twice, or not whole", d)
		}
		seen[d.ID] = true
		if f := NewFinding(d.ID, "cause", ""); f.Cure != d.Cure || f.Check != d.Check {
			t.Errorf("finding %+v of %+v", f, d)
		}
	}
	for name, id := range names {
		if !seen[id] {
			t.Errorf("%s is in no list", name)
		}
	}
	if len(seen) != len(names) {
		t.Errorf("%d diagnoses, %d constants", len(seen), len(names))
	}
}

// TestEveryDiagnosisIsTested: a test of a package that finds them names it.
func TestEveryDiagnosisIsTested(t *testing.T) {
	var all strings.Builder
	for _, dir := range []string{"lightningrod", "doctor", "conductor", "e2e"} {
		files, _ := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	for name := range ids(t) {
		if !regexp.MustCompile(`\bwire\.` + name + `\b`).MatchString(all.String()) {
			t.Errorf("no test makes wire.%s happen", name)
		}
	}
}
