// Command scale measures how many boards a cloud takes, in this build and in an
// earlier one: boards that all come at once, what they cost, what a user notices of
// them, and how they come back after one WAMP agent, or all of the cloud, was killed. It
// writes a page, and the figures as JSON beside it. It needs git, for a cloud of several
// processes RabbitMQ and PostgreSQL, which it starts, and no privilege; the
// boards share the machine with the cloud.
//
// The boards are those of the build that is measured (lightningrod's
// BenchmarkFleet): an earlier one that has no such benchmark is given this
// tree's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	base  string        // commit of the earlier build; empty: none
	sizes []int         // of the fleet
	rate  int           // boards that come a second; 0: all at once
	rest  time.Duration // how long the cloud is watched at rest
	limit time.Duration // after which what has not come about never does
	quick bool          // the kills are left out

	known    int    // boards that have joined, where that are more than come
	agents   int    // processes of WAMP agents; 0: one process is everything
	contract bool   // it fails where the contract of a storm is broken
	log      string // level of the cloud's log, which is kept then
}

func main() {
	var o options
	sizes := flag.String("sizes", "500,2000,5000,10000", "boards, with commas between")
	flag.StringVar(&o.base, "base", "", "commit of the earlier build; empty: this one only")
	flag.IntVar(&o.rate, "rate", 0, "boards that come a second; 0: all at once")
	flag.DurationVar(&o.rest, "rest", 20*time.Second, "how long it is watched at rest")
	flag.DurationVar(&o.limit, "limit", 3*time.Minute, "after which what has not come about is called never")
	flag.BoolVar(&o.quick, "quick", false, "leave the kills out")
	flag.IntVar(&o.agents, "agents", 0, "processes of WAMP agents, with RabbitMQ and PostgreSQL; 0: one process is everything, with SQLite")
	flag.IntVar(&o.known, "known", 0, "boards that have joined, where that are more than come")
	flag.BoolVar(&o.contract, "contract", false, "fail where boards stay away, sessions end, or a user's request fails")
	flag.StringVar(&o.log, "log", "", "level of the cloud's log, on stderr; empty: none")
	out := flag.String("out", "", "page to write, without .md and .json; empty: only print")
	flag.Parse()
	for _, s := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			fmt.Fprintln(os.Stderr, "scale: -sizes:", s)
			os.Exit(2)
		}
		o.sizes = append(o.sizes, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// build is one that is measured.
type build struct {
	name     string // "base" or "this"
	commit   string
	iotronic string // program
	fleet    string // test binary of lightningrod
}

// run measures and reports.
func run(ctx context.Context, o options, out string) error {
	dir, err := os.MkdirTemp("", "s4t-bench-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var builds []build
	if o.base != "" {
		tree := filepath.Join(dir, "base")
		if err := command(ctx, ".", "git", "worktree", "add", "--detach", "--quiet", tree, o.base); err != nil {
			return err
		}
		// Also after an interrupt.
		defer func() { command(context.Background(), ".", "git", "worktree", "remove", "--force", tree) }()
		if err := addFleet(tree); err != nil {
			return err
		}
		b, err := makeBuild(ctx, tree, dir, "base")
		if err != nil {
			return err
		}
		builds = append(builds, b)
	}
	b, err := makeBuild(ctx, ".", dir, "this")
	if err != nil {
		return err
	}
	builds = append(builds, b)
	var all []result
	for _, n := range o.sizes {
		for _, b := range builds {
			r := measure(ctx, o, b, filepath.Join(dir, b.name+strconv.Itoa(n)), n)
			fmt.Println(r)
			if r.Error != "" || ctx.Err() != nil {
				return errors.Join(ctx.Err(), errors.New(r.Error))
			}
			if o.contract {
				if err := r.broken(); err != nil {
					return err
				}
			}
			all = append(all, r)
		}
	}
	page := markdown(o, builds, all)
	fmt.Println(page)
	if out == "" {
		return nil
	}
	figures, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(out+".md", []byte(page), 0o644), os.WriteFile(out+".json", append(figures, '\n'), 0o644))
}

// fleetFile is what an earlier build needs of this tree.
const fleetFile = "lightningrod/fleet_bench_test.go"

func addFleet(tree string) error {
	to := filepath.Join(tree, fleetFile)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	text, err := os.ReadFile(fleetFile)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

func makeBuild(ctx context.Context, tree, dir, name string) (build, error) {
	b := build{name: name, commit: revision(ctx, tree), iotronic: filepath.Join(dir, name+".iotronic"), fleet: filepath.Join(dir, name+".fleet")}
	if err := command(ctx, tree, "go", "build", "-o", b.iotronic, "./cmd/iotronic"); err != nil {
		return b, err
	}
	return b, command(ctx, tree, "go", "test", "-c", "-o", b.fleet, "./lightningrod")
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

// revision is a tree's commit as people write it.
func revision(ctx context.Context, tree string) string {
	text, err := exec.CommandContext(ctx, "git", "-C", tree, "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
