// Command bench measures Stack4Things on this machine, each figure beside the
// bare veth of the same run, and writes the table and the picture of
// docs/performance.md. It needs root, iperf3 and the three programs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	var (
		bin      = flag.String("bin", "bin", "directory of the three programs")
		rounds   = flag.Int("rounds", 3, "rounds of each measure; medians are reported")
		seconds  = flag.Int("seconds", 3, "seconds of a throughput run")
		only     = flag.String("only", "", "comma-separated: workflow, boards, overlay, path, fairness, small, tunnel")
		variant  = flag.String("variant", "", "only the overlay or tunnel variant of this name, or those whose name contains it")
		stay     = flag.Bool("hold", false, "bring the overlay or tunnel -variant up and leave it, for profiling, until interrupted")
		out      = flag.String("out", "docs", "directory of performance.md and performance.svg; empty: only print")
		echoAddr = flag.String("echo", "", "internal: serve an echo service")
		connTo   = flag.String("conns", "", "internal: short connections to it")
		rrTo     = flag.String("rr", "", "internal: requests to it")
		spliceOf = flag.String("splice", "", "internal: TCP connections to join, LISTEN=TARGET,...")
		idleTo   = flag.String("idle", "", "internal: idle connections to it")
		boards   = flag.String("boards", "", "internal: boards to simulate, a file of join strings")
		relayOf  = flag.String("relay", "", "internal: two namespaces to join by a path")
		delay    = flag.Duration("delay", 0, "internal: of the path, each way")
		loss     = flag.Float64("loss", 0, "internal: of the path, each way, from 0 to 1")
		n        = flag.Int("n", 2000, "internal: how many")
	)
	flag.Parse()
	var err error
	switch {
	case *echoAddr != "":
		err = echo(*echoAddr)
	case *connTo != "":
		err = conns(*connTo, *n)
	case *rrTo != "":
		err = requests(*rrTo)
	case *idleTo != "":
		err = idle(*idleTo, *n)
	case *spliceOf != "":
		err = splice(*spliceOf)
	case *relayOf != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		a, b, _ := strings.Cut(*relayOf, ",")
		err = relay(ctx, a, b, *delay, *loss)
		stop()
	case *boards != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = simulate(ctx, *boards)
		stop()
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		if *stay {
			err = hold(ctx, *bin, *variant)
		} else {
			err = run(ctx, *bin, *only, *variant, *out, *rounds, *seconds)
		}
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything that is asked for and reports it.
func run(ctx context.Context, bin, only, variant, out string, rounds, seconds int) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	want := func(part string) bool { return only == "" || strings.Contains(","+only+",", ","+part+",") }
	r := report{Rounds: rounds, Seconds: seconds, Sizes: sizes(bin)}
	if want("workflow") {
		fmt.Println("workflow ...")
		w := measureWorkflow(ctx, bin, self, max(5, rounds))
		r.Workflow = &w
	}
	if want("boards") {
		fmt.Println("500 boards ...")
		b := measureBoards(ctx, bin, self, 500)
		r.Boards = &b
	}
	if want("overlay") {
		for _, o := range overlays(variant) {
			fmt.Println(o.Name, "...")
			res := measureOverlay(ctx, bin, o, rounds, seconds)
			fmt.Println(res.row())
			r.Overlays = append(r.Overlays, res)
		}
	}
	if want("path") {
		for _, p := range paths(variant) {
			fmt.Println("path,", p.Name, "...")
			p = measurePath(ctx, bin, self, p, 1, seconds)
			fmt.Println(p.row())
			r.Paths = append(r.Paths, p)
		}
	}
	if want("fairness") {
		fmt.Println("ten boards, one of them stopped ...")
		s := measureFairness(ctx, bin)
		fmt.Println(s.row())
		r.Fairness = &s
	}
	if want("small") {
		fmt.Println("small board ...")
		s := measureSmall(ctx, bin, self)
		fmt.Println(s.row())
		r.Small = &s
	}
	if want("tunnel") {
		for _, t := range []struct {
			name string
			tls  bool
		}{{"service, wss", true}, {"service, ws", false}} {
			if !strings.Contains(t.name, variant) || variant == "service, ws" && t.tls {
				continue
			}
			fmt.Println(t.name, "...")
			for _, res := range measureTunnel(ctx, bin, self, t.name, t.tls, rounds, seconds) {
				fmt.Println(res.row())
				r.Tunnels = append(r.Tunnels, res)
			}
		}
	}
	fmt.Println()
	fmt.Println(r.markdown())
	if out == "" || only != "" {
		return nil
	}
	return r.write(out)
}

// hold brings a variant up and leaves it until ctx ends.
func hold(ctx context.Context, bin, variant string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if strings.HasPrefix(variant, "service") {
		return holdTunnel(ctx, bin, self, variant)
	}
	return holdOverlay(ctx, bin, variant)
}

// overlays are the variants that are measured: the one of that name, or those
// whose name contains it.
func overlays(name string) (some []overlay) {
	for _, o := range []overlay{
		{Name: "layer 2, wss", TLS: true, Layer: 2, Encap: "ethernet"},
		{Name: "layer 2, ws", Layer: 2, Encap: "ethernet"},
		{Name: "layer 3, wss", TLS: true, Layer: 3, Encap: "ethernet"},
		{Name: "layer 3, ws", Layer: 3, Encap: "ethernet"},
		{Name: "gre, wss", TLS: true, Layer: 2, Encap: "gre"},
		{Name: "gre, ws", Layer: 2, Encap: "gre"},
		{Name: "Linux bridge, ws", Layer: 2, Encap: "ethernet", Uplink: true},
	} {
		if o.Name == name {
			return []overlay{o}
		}
		if strings.Contains(o.Name, name) {
			some = append(some, o)
		}
	}
	return some
}

// sizes of the three programs, in bytes.
func sizes(bin string) map[string]int64 {
	s := map[string]int64{}
	for _, p := range []string{"iotronic", "lightning-rod", "s4t"} {
		if info, err := os.Stat(filepath.Join(bin, p)); err == nil {
			s[p] = info.Size()
		}
	}
	return s
}
