package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stack4things/s4t"
)

func TestTimesAndSizesAreHuman(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", -999 * time.Millisecond: "now", -59 * time.Second: "59s ago", -3 * time.Minute: "3m ago", -47 * time.Hour: "47h ago",
		-48 * time.Hour: "2d ago", 2 * time.Hour: "in 2h", 24*time.Hour - time.Millisecond: "in 24h",
	} {
		if got := ago(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if ago(time.Time{}, now) != "" {
		t.Error("a time that is missing is shown")
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1234567: "1.2 MB", 99999999: "100 MB", 1 << 63: "9.2 EB"} {
		if got := s4t.Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestWhatABoardSaysCannotCommandTheTerminal(t *testing.T) {
	if got := oneLine("a\x1b]0;title\x07b\nc\u009b31m\u202e"); got != "a ]0;title b c 31m" {
		t.Errorf("%q", got)
	}
}

func TestYAMLKeepsOrderAndStrings(t *testing.T) {
	var b bytes.Buffer
	a := &app{stdout: &b, format: "yaml"}
	v := struct {
		Z string            `json:"z"`
		A []string          `json:"a"`
		M map[string]string `json:"m"`
		E []int             `json:"e"`
	}{"123", []string{"true", "10.77.0.0/24", "a: b", "null", ""}, map[string]string{"k": "1.0"}, []int{}}
	if err := a.printData(v); err != nil {
		t.Fatal(err)
	}
	want := "z: \"123\"\na:\n  - \"true\"\n  - 10.77.0.0/24\n  - 'a: b'\n  - \"null\"\n  - \"\"\nm:\n  k: \"1.0\"\ne: []\n"
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
}

// TestNothingThatIsPrintedCommandsTheTerminal: control characters and those that
// turn the direction of writing, in every format; and data stays data.
func TestNothingThatIsPrintedCommandsTheTerminal(t *testing.T) {
	evil := "a\x1b]0;x\x07\u009b31m\x7f\u0085\u200e\u200f\u202a\u202e\u2066\u2069\U000e0001\tb\nc\u2028d: \"e\""
	item := map[string]string{evil: evil}
	for _, format := range formats {
		var b bytes.Buffer
		a := &app{stdout: &b, format: format, env: func(string) string { return "" }}
		if err := printList(a, []map[string]string{item}, func(map[string]string) string { return evil }, column[map[string]string]{"X", func(map[string]string) string { return evil }}); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && !s4t.Prints(r) {
				t.Errorf("%s: %U is there raw", format, r)
			}
		}
		var back []map[string]string
		switch format {
		case "json":
			json.Unmarshal(b.Bytes(), &back)
		case "yaml":
			if err := yaml.Unmarshal(b.Bytes(), &back); err != nil {
				t.Error(err)
			}
		default:
			continue
		}
		if len(back) != 1 || back[0][evil] != evil {
			t.Errorf("%s: read as %q from\n%s", format, back, b.String())
		}
	}
}

func TestEveryCommandHasAnExampleAndEveryKindAStatus(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, env: func(string) string { return "" }}
	todo := a.root().Commands()
	for len(todo) > 0 {
		c := todo[0]
		todo = append(todo[1:], c.Commands()...)
		if c.Name() == "help" {
			continue
		}
		if c.Example == "" || c.Short == "" || c.Args == nil {
			t.Errorf("%s lacks an example, a description or a check of its arguments", c.CommandPath())
		}
	}
	for kind, want := range map[s4t.Kind]int{
		s4t.Invalid: 2, s4t.NotFound: 3, s4t.Unauthenticated: 4, s4t.Forbidden: 4, s4t.Offline: 5, s4t.Conflict: 6, s4t.Stale: 6,
		s4t.Unavailable: 1, s4t.Timeout: 1, s4t.TooMany: 1, s4t.Internal: 1,
	} {
		if got := exitStatus(s4t.Errorf(kind, "", "", "x")); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}

func TestEveryListCanBeCutShort(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, env: func(string) string { return "" }}
	lists := 0
	for _, group := range a.root().Commands() {
		for _, c := range group.Commands() {
			if c.Name() == "list" && group.Name() != "context" {
				lists++
				if c.Flags().Lookup("limit") == nil {
					t.Errorf("%s has no --limit", c.CommandPath())
				}
			}
		}
	}
	if lists != 20 {
		t.Errorf("%d lists", lists)
	}
}
