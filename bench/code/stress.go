package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t/bench/field"
)

const (
	rowShare   = "processor that guests get of 25 % given, stress-ng as a plugin, most of 3 windows of 10 s"
	rowMemory  = "memory that they hold of 64 MB given, most that was seen"
	rowControl = "read of a pin over the control channel meanwhile, p50 / p99 (without stress-ng)"
)

// stressed is a plugin that takes what it can get.
const stressed = `#!/bin/sh
exec %s --cpu 4 --vm 1 --vm-bytes 40M --temp-path "$S4T_DATA" --timeout 0
`

// window is how long the processor's use is looked at.
const window = 10 * time.Second

// measureStress runs stress-ng as a plugin within a profile, and reads a pin meanwhile.
func measureStress(ctx context.Context, o options, p *page) error {
	program, err := exec.LookPath("stress-ng")
	if err != nil {
		return fmt.Errorf("%w: it is in Debian's package stress-ng", err)
	}
	f, err := field.New(o.bin)
	if err != nil {
		return err
	}
	defer f.Close()
	pins := filepath.Join(f.Dir, "pins.toml")
	if err := os.WriteFile(pins, []byte("[[sim]]\ndevice = \"demo\"\npin = \"in\"\nwave = \"sine\"\n"), 0o644); err != nil {
		return err
	}
	if _, err := f.Board(ctx, "board", "--io", "none", "--io-config", pins, "--commands", filepath.Join(f.Dir, "none")); err != nil {
		return err
	}
	if err := f.Run(ctx, "lightning-rod", "profile", "set", "--state", f.State("board"), "--cpu", "25%", "--memory", "64M"); err != nil {
		return err
	}
	quiet, err := reads(ctx, f, window)
	if err != nil {
		return err
	}
	dir := filepath.Join(f.Dir, "stress")
	manifest := "name = \"stress\"\nversion = \"1.0.0\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"service\"\n"
	if err := errors.Join(os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte(manifest), 0o644),
		os.WriteFile(filepath.Join(dir, "run.sh"), fmt.Appendf(nil, stressed, program), 0o755)); err != nil {
		return err
	}
	if err := f.Run(ctx, "s4t", "plugin", "create", "stress", dir); err != nil {
		return err
	}
	if err := f.Run(ctx, "s4t", "plugin", "inject", "stress", "--board", "board", "--timeout", "1m"); err != nil {
		return err
	}
	board, err := f.API.Board(ctx, "board")
	if err != nil {
		return err
	}
	g, err := guests("lightning-rod-" + string(board.ID))
	if err != nil {
		return err
	}
	var busy []float64
	var share, memory float64
	for range 3 {
		was, at := g.cpu(), time.Now()
		took, err := reads(ctx, f, window)
		if err != nil {
			return err
		}
		share = max(share, (g.cpu()-was)/time.Since(at).Seconds())
		memory = max(memory, g.memory())
		busy = append(busy, took...)
	}
	state, err := f.API.BoardPlugin(ctx, "board", "stress")
	if err != nil {
		return err
	}
	if state.Restarts > 0 || share < 0.1 {
		return fmt.Errorf("stress-ng did not run all the time: %d restarts, %s, %.0f %% of a processor", state.Restarts, state.Problem, 100*share)
	}
	p.add(rowShare, "<= 27 %", verdict(share <= 0.27), "%.1f %%", 100*share)
	p.add(rowMemory, "<= 64 MB", verdict(memory <= 64), "%.1f MiB", memory)
	p99 := field.Quantile(busy, 0.99)
	p.add(rowControl, "p99 < 100 ms", verdict(p99 < 100), "%.1f / %.1f ms (%.1f / %.1f)", field.Quantile(busy, 0.5), p99, field.Quantile(quiet, 0.5), field.Quantile(quiet, 0.99))
	return nil
}

// reads reads a pin through the cloud, every 10 ms for a while, and returns how long each
// took, in ms.
func reads(ctx context.Context, f *field.Field, d time.Duration) (took []float64, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		at := time.Now()
		if _, err := f.API.ReadPin(ctx, "board", "sim/demo/in"); err != nil {
			return nil, err
		}
		took = append(took, ms(at))
	}
	return took, nil
}

// usage are the files that say what a cgroup has used.
type usage struct {
	cpuFile, memoryFile string
	unit                float64 // of cpuFile, in seconds
}

// guests finds the cgroup of a board's guests, of whichever version the host has.
func guests(name string) (usage, error) {
	var u usage
	for _, v := range []struct {
		cpu, memory string
		unit        float64
	}{{"cpuacct.usage", "memory.usage_in_bytes", 1e-9}, {"cpu.stat", "memory.current", 1e-6}} {
		cpu, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", name, v.cpu))
		if len(cpu) == 0 {
			cpu, _ = filepath.Glob(filepath.Join("/sys/fs/cgroup", name, v.cpu))
		}
		if len(cpu) == 0 {
			continue
		}
		memory, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/memory", name, v.memory))
		if len(memory) == 0 {
			memory = []string{filepath.Join(filepath.Dir(cpu[0]), v.memory)}
		}
		return usage{cpu[0], memory[0], v.unit}, nil
	}
	return u, fmt.Errorf("there is no cgroup %s that counts its processor time", name)
}

// cpu is the processor time that guests have used, in seconds.
func (u usage) cpu() float64 { return number(u.cpuFile) * u.unit }

// memory is what they hold, in MiB.
func (u usage) memory() float64 { return number(u.memoryFile) / (1 << 20) }

// number is the first number in a file: of cpu.stat that of usage_usec.
func number(file string) float64 {
	text, _ := os.ReadFile(file)
	for word := range strings.FieldsSeq(string(text)) {
		if v, err := strconv.ParseFloat(word, 64); err == nil {
			return v
		}
	}
	return 0
}
