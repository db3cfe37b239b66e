// Command state measures what the cloud's state costs, in this build and in an
// earlier one, in turns, and writes the table of docs/performance-state.md. It
// needs git and PostgreSQL.
//
// The earlier build is a commit, checked out in a temporary directory. It is
// measured with this tree's benchmarks of the conductor (state_bench_test.go),
// which are copied there with base_test.go.txt, what they need of its API; one
// that has them itself is measured with its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stack4things/s4t/internal/pgtest"
)

func main() {
	base := flag.String("base", "", "commit of the earlier build; required")
	rounds := flag.Int("rounds", 3, "rounds, each of both builds; medians are reported")
	only := flag.String("only", "", "only the measures whose name contains it; the page is not written")
	out := flag.String("out", "docs/performance-state.md", "page to write; empty: only print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *base, *only, *out, *rounds)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "state:", err)
		os.Exit(1)
	}
}

// measure is one row of the table.
type measure struct {
	name      string // of the Go benchmark
	unit      string // of its metric
	says      string
	perSecond bool   // more is better
	target    string // for people
}

// groups of measures are each one run of a test binary.
var groups = []struct {
	pattern, times string
	measures       []measure
}{
	{"BenchmarkStateCommits", "4x", []measure{
		{"BenchmarkStateCommits/event", "commits/s", "64 writers, 256 transactions: a row read, an event written", true, ">= 5 x"},
		{"BenchmarkStateCommits/event", "%aborted", "of their attempts, aborted", false, "<= 5 %"},
		{"BenchmarkStateCommits/board.create", "commits/s", "64 writers, 256 `board create`", true, ">= 5 x"},
		{"BenchmarkStateCommits/board.create", "%aborted", "of their attempts, aborted", false, "<= 5 %"},
		{"BenchmarkStateCommits/board.report", "commits/s", "64 boards, 256 reports that a port came or went", true, ">= 5 x"},
		{"BenchmarkStateCommits/board.report", "%aborted", "of their attempts, aborted", false, "<= 5 %"},
	}},
	{"BenchmarkStateFleet", "40x", []measure{
		{"BenchmarkStateFleet/sqlite/report", "ms", "report of a tunnel agent with 20,000 boards: one came or went, SQLite", false, "<= 5 ms"},
		{"BenchmarkStateFleet/postgres/report", "ms", "the same, PostgreSQL", false, "<= 5 ms"},
		{"BenchmarkStateFleet/sqlite/report500", "ms", "the same: 500 came or went, SQLite", false, ""},
		{"BenchmarkStateFleet/postgres/report500", "ms", "the same, PostgreSQL", false, ""},
		{"BenchmarkStateFleet/sqlite/lookup", "ms", "a board found by its name among 20,000 (`s4t ssh NAME`), SQLite", false, "<= 1 ms"},
		{"BenchmarkStateFleet/postgres/lookup", "ms", "the same, PostgreSQL", false, "<= 1 ms"},
		{"BenchmarkStateFleet/sqlite/stream.open", "ms", "the whole grant of a stream to it, with its audit record, SQLite", false, ""},
		{"BenchmarkStateFleet/postgres/stream.open", "ms", "the same, PostgreSQL", false, ""},
	}},
	{"BenchmarkBridge$/boards=2$", "150x", []measure{
		{"BenchmarkBridge/boards=2", "ns/op", "a bridge of 2 boards, from the request to the end of its operation, SQLite", false, "<= 1.1 x"},
	}},
}

// run measures and reports.
func run(ctx context.Context, base, only, out string, rounds int) error {
	if base == "" {
		return errors.New("name the commit of the earlier build with -base")
	}
	server, err := pgtest.Server()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "s4t-bench-state-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "base")
	if err := command(ctx, ".", "git", "worktree", "add", "--detach", "--quiet", tree, base); err != nil {
		return err
	}
	// Also after an interrupt.
	defer func() { command(context.Background(), ".", "git", "worktree", "remove", "--force", tree) }()
	if err := addBenchmarks(tree); err != nil {
		return err
	}
	builds := [2]string{filepath.Join(dir, "base.test"), filepath.Join(dir, "this.test")}
	for i, at := range []string{tree, "."} {
		if err := command(ctx, at, "go", "test", "-c", "-o", builds[i], "./conductor"); err != nil {
			return err
		}
	}
	var found [2]map[string][]float64
	for i := range found {
		found[i] = map[string][]float64{}
	}
	for round := range rounds {
		for _, g := range groups {
			if !slices.ContainsFunc(g.measures, func(m measure) bool { return strings.Contains(m.name, only) }) {
				continue
			}
			for i, binary := range builds {
				fmt.Printf("round %d of %d, %s, %s\n", round+1, rounds, g.pattern, [2]string{"base", "this"}[i])
				// In the package's directory, as go test does.
				cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench="+g.pattern, "-test.benchtime="+g.times)
				cmd.Dir = filepath.Join([2]string{tree, "."}[i], "conductor")
				cmd.Env = append(os.Environ(), "S4T_TEST_DATABASE="+server)
				text, err := cmd.CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w\n%s", g.pattern, err, text)
				}
				for k, v := range figures(string(text)) {
					found[i][k] = append(found[i][k], v)
				}
			}
		}
	}
	page := markdown(ctx, base, rounds, found)
	fmt.Println(page)
	if out == "" || only != "" {
		return nil
	}
	return os.WriteFile(out, []byte(page), 0o644)
}

// addBenchmarks puts the benchmarks into a tree that has none.
func addBenchmarks(tree string) error {
	for from, to := range map[string]string{
		"conductor/state_bench_test.go": "conductor/state_bench_test.go",
		"bench/state/base_test.go.txt":  "conductor/state_bench_api_test.go",
	} {
		to = filepath.Join(tree, to)
		if _, err := os.Stat(to); err == nil {
			continue
		}
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// command runs one and returns what it said if it failed.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return nil
}

// figures reads what a test binary prints: "BenchmarkX/y-2  4  12 ns/op  34 commits/s",
// as "BenchmarkX/y commits/s" -> 34.
func figures(text string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if at := strings.LastIndexByte(name, '-'); at > 0 { // the number of processors
			name = name[:at]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				found[name+" "+fields[i+1]] = v
			}
		}
	}
	return found
}

// markdown is the page.
func markdown(ctx context.Context, base string, rounds int, found [2]map[string][]float64) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# What the cloud's state costs\n")
	p("Written by `make bench-state BASE=%s` on %s at commit %s, against commit %s.", base, time.Now().UTC().Format("2006-01-02"), revision(ctx, "HEAD"), revision(ctx, base))
	p("Both builds were measured in turns, in one run, on one machine; medians of %d rounds. Machines differ: read ratios.", rounds)
	p("PostgreSQL does not sync to the disk here, SQLite does. A ratio is how much better this build is.\n")
	p("| measure | base | this build | ratio | target |\n|---|---|---|---|---|")
	for _, g := range groups {
		for _, m := range g.measures {
			was, is := found[0][m.name+" "+m.unit], found[1][m.name+" "+m.unit]
			if len(was) == 0 || len(is) == 0 {
				continue
			}
			p("%s", m.row(median(was), median(is)))
		}
	}
	return b.String()
}

// row is a line of the table.
func (m measure) row(was, is float64) string {
	ratio := is / was
	if !m.perSecond {
		ratio = was / is
	}
	unit, ratioText := m.unit, fmt.Sprintf("%.1f", ratio)
	switch m.unit {
	case "%aborted":
		unit, ratioText = "%", ""
	case "ns/op":
		was, is, unit, ratioText = was/1e6, is/1e6, "ms", fmt.Sprintf("%.2f", ratio)
	}
	return fmt.Sprintf("| %s | %s %s | %s %s | %s | %s |", m.says, figure(was), unit, figure(is), unit, ratioText, m.target)
}

// figure prints a number with three digits that matter.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// revision is a commit as people write it.
func revision(ctx context.Context, name string) string {
	text, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", name).Output()
	if err != nil {
		return name
	}
	return strings.TrimSpace(string(text))
}
