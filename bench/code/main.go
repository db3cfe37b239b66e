// Command code measures what code on boards costs: commands of plugins through the
// cloud, beside the original's; bundles beside a reverse tunnel; a board at rest, and one
// whose guests take all that its owner gives. It needs root, cgroups, python3, stress-ng
// and the three programs, and writes docs/performance-commands.md.
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
	"strings"
	"syscall"
)

// options are what is measured, and how.
type options struct {
	bin, out, only, original string
	calls, rounds            int
}

// measures are all that there is, in the order of the page.
var measures = []struct {
	name string
	run  func(ctx context.Context, o options, p *page) error
}{
	{"call", measureCalls},
	{"original", measureOriginal},
	{"cloud", measureCloud},
	{"bundle", measureBundles},
	{"rest", measureRest},
	{"stress", measureStress},
	{"journal", measureJournal},
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of the three programs")
	flag.StringVar(&o.out, "out", "docs", "directory of performance-commands.md; empty: only print")
	flag.StringVar(&o.only, "only", "", "comma-separated: call, original, cloud, bundle, rest, stress, journal; the other rows of the page stay as they are")
	flag.StringVar(&o.original, "original", "", "directory with the sources of the original's lightning-rod; empty: its row stays as it is")
	flag.IntVar(&o.calls, "calls", 2000, "commands one after the other")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of bundle and tunnel, in turn; medians are reported")
	inside := flag.Bool("inside", false, "internal: in the namespaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *inside {
		err = run(ctx, o)
	} else {
		err = enter(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "code:", err)
		os.Exit(1)
	}
}

// enter runs this program again in namespaces of its own: nothing that it starts or
// mounts is seen outside, or stays.
func enter(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--net", self, "-inside"}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd.Run()
}

// run measures what is asked for and writes the page.
func run(ctx context.Context, o options) (err error) {
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, "ip", "link", "set", "lo", "up").Run(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	p := newPage(o.out)
	var failed error
	for _, m := range measures {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), m.name) {
			continue
		}
		if err := m.run(ctx, o, p); err != nil { // the others are measured all the same
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	if o.out == "" {
		return failed
	}
	return errors.Join(failed, p.write())
}
