// Command tree measures the tree of pins beside others on this machine, and writes
// docs/performance-tree.md. It needs root, and FUSE.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// measure is a part of the page.
type measure struct {
	name string
	run  func(ctx context.Context, p *page) error
}

// measures are all that there is, in the order of the page.
var measures = []measure{
	{"read", measureReads},
	{"tree", measureTree},
}

// page is what is written, and how often each thing is measured.
type page struct {
	strings.Builder
	rounds int
}

// line adds a line, and shows it.
func (p *page) line(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	fmt.Fprintf(p, format+"\n", args...)
}

func main() {
	var (
		rounds = flag.Int("rounds", 5, "rounds of each measure; medians are reported")
		only   = flag.String("only", "", "comma-separated: read, tree")
		out    = flag.String("out", "docs", "directory of performance-tree.md; empty: only print")
		serve  = flag.String("serve", "", "internal: mount a file there")
		tree   = flag.String("serve-tree", "", "internal: mount the tree of many boards there")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = serveFile(ctx, *serve)
	case *tree != "":
		err = serveTree(ctx, *tree)
	default:
		err = run(ctx, *only, *out, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tree:", err)
		os.Exit(1)
	}
}

// run measures what is asked for and writes the page.
func run(ctx context.Context, only, out string, rounds int) error {
	p := &page{rounds: rounds}
	p.line("# Performance of the tree of pins\n")
	p.line("Written by `go run ./bench/tree` on %s. Medians of %d rounds; what is compared was measured in turn, in the same run.", time.Now().UTC().Format("2006-01-02"), rounds)
	for _, m := range measures {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		if err := m.run(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(out, "performance-tree.md"), []byte(p.String()), 0o644)
}

// median of some figures.
func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
