// Command pins measures what pins cost: reads and edges through the tree of
// files on the board, through the cloud, and on a mount at another board;
// samples to a client; and a board at rest. It needs root, /dev/fuse, unshare and the three
// programs, and writes docs/performance-pins.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	var (
		bin    = flag.String("bin", "bin", "directory of the three programs")
		out    = flag.String("out", "docs", "directory of performance-pins.md; empty: only print")
		rounds = flag.Int("rounds", 3, "rounds of each measure; medians are reported")
		only   = flag.String("only", "", "comma-separated: read, edge, remote, afar, samples, rest")
		inside = flag.Bool("inside", false, "internal: in the namespaces")
		edges  = flag.Bool("edges", false, "internal: write OUT and poll IN: arguments OUT IN, prints microseconds")
		reads  = flag.Bool("reads", false, "internal: read FILE, prints microseconds")
		n      = flag.Int("n", 2000, "internal: how many")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *edges:
		err = pollEdges(flag.Arg(0), flag.Arg(1), *n)
	case *reads:
		err = readFile(flag.Arg(0), *n)
	case *inside:
		err = measureAll(ctx, *bin, *out, *only, *rounds)
	default:
		err = enter(ctx, *bin, *out, *only, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pins:", err)
		os.Exit(1)
	}
}

// enter runs this program again in a network namespace and a mount namespace of
// its own: nothing that it starts or mounts is seen outside, or stays.
func enter(ctx context.Context, bin, out, only string, rounds int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", self, "-inside", "-bin", bin, "-out", out, "-only", only, "-rounds", fmt.Sprint(rounds))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd.Run()
}
