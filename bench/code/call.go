package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/field"
)

const (
	rowGo     = "command of a plugin in Go, through the cloud, p50 / p99"
	rowShell  = "the same in shell (it starts a process or two for each)"
	rowPython = "the same in Python"
	rowCPU    = "processor time of the first, a command: iotronic, lightning-rod"
)

// warm is how many calls are not counted.
const warm = 50

// examples is where plugins are: those that the documentation shows.
const examples = "docs/examples/plugins"

// oneBoard starts a cloud and a board that has neither pins nor commands of its owner.
// The caller closes the field.
func oneBoard(ctx context.Context, o options) (*field.Field, *field.Process, error) {
	f, err := field.New(o.bin)
	if err != nil {
		return nil, nil, err
	}
	rod, err := f.Board(ctx, "board", "--io", "none", "--commands", filepath.Join(f.Dir, "none"))
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, rod, nil
}

// measureCalls runs a command of each example, one after the other.
func measureCalls(ctx context.Context, o options, p *page) error {
	f, rod, err := oneBoard(ctx, o)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, l := range []struct {
		language, row, target string
		calls                 int
	}{{"go", rowGo, "<= 3 ms / 15 ms", o.calls}, {"shell", rowShell, "", o.calls / 4}, {"python", rowPython, "", o.calls}} {
		if err := inject(ctx, f, l.language, "board"); err != nil {
			return err
		}
		cloud, board := f.Cloud.CPU(), rod.CPU()
		took, err := calls(ctx, f, l.calls)
		if err != nil {
			return err
		}
		p50, p99, met := field.Quantile(took, 0.5), field.Quantile(took, 0.99), ""
		if l.target != "" {
			met = verdict(p50 <= 3 && p99 <= 15)
		}
		p.add(l.row, l.target, met, "%.2f / %.2f ms", p50, p99)
		if l.row == rowGo {
			each := 1000 / float64(l.calls+warm)
			p.add(rowCPU, "", "", "%.2f, %.2f ms", (f.Cloud.CPU()-cloud)*each, (rod.CPU()-board)*each)
		}
		if err := f.Run(ctx, "s4t", "plugin", "remove", l.language, "--board", "board"); err != nil {
			return err
		}
	}
	return nil
}

// inject uploads an example and puts it on a board. The commands of all examples have the
// same names: a board has one of them at a time.
func inject(ctx context.Context, f *field.Field, language, board string) error {
	dir := filepath.Join(f.Dir, "plugin-"+language)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(examples, language))); err != nil {
		return err
	}
	if language == "go" {
		build := exec.CommandContext(ctx, "go", "build", "-o", "plugin", ".")
		build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the plugin: %w: %s", err, out)
		}
	}
	if err := f.Run(ctx, "s4t", "plugin", "create", language, dir); err != nil {
		return err
	}
	return f.Run(ctx, "s4t", "plugin", "inject", language, "--board", board, "--onboot", "--timeout", "1m")
}

// calls runs the command greet n times and returns how long each took, in ms.
func calls(ctx context.Context, f *field.Field, n int) ([]float64, error) {
	var took []float64
	for i := range n + warm {
		at := time.Now()
		r, err := f.API.RunCommand(ctx, "board", "greet", apiclient.RunOptions{Params: json.RawMessage(`{"name":"Ada"}`)})
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(r.Result), "hello Ada") {
			return nil, fmt.Errorf("the command answers %s", r.Result)
		}
		if i >= warm {
			took = append(took, ms(at))
		}
	}
	return took, nil
}

func ms(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1e6 }
