package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t/bench/proc"
)

// smallResult is how a board with half a core and 64 MB behaves while its
// bridge is saturated.
type smallResult struct {
	Gbps     float64
	PeakMiB  float64   // most that was resident
	Control  []float64 // ms: `service expose` to the first byte, which passes the control channel twice
	OOMKills int
	Err      error
}

// measureSmall puts the lightning-rod of board 1 into control groups (v1) and
// saturates its bridge.
func measureSmall(ctx context.Context, bin, self string) (r smallResult) {
	fail := func(err error) smallResult { r.Err = err; return r }
	f, to, err := bridgeField(ctx, bin, overlay{TLS: true, Layer: 2, Encap: "ethernet"})
	if err != nil {
		return fail(err)
	}
	defer f.lab.Close()
	board := f.Boards[0]
	group := "s4t-bench-" + strconv.Itoa(os.Getpid())
	for _, g := range []struct{ controller, file, value string }{
		{"cpu", "cpu.cfs_quota_us", "50000"}, {"cpu", "cgroup.procs", strconv.Itoa(board.Process.Pid())},
		{"memory", "memory.limit_in_bytes", "67108864"}, {"memory", "cgroup.procs", strconv.Itoa(board.Process.Pid())},
	} {
		dir := filepath.Join("/sys/fs/cgroup", g.controller, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fail(err)
		}
		defer os.Remove(dir) // after the lab has closed: deferred calls run in reverse, so it is tried again below
		if err := os.WriteFile(filepath.Join(dir, g.file), []byte(g.value), 0o644); err != nil {
			return fail(fmt.Errorf("this machine has no control groups of version 1 to write: %w", err))
		}
	}
	api, err := adminClient(f)
	if err != nil {
		return fail(err)
	}
	if _, err := board.Host.Start("echo", nil, self, "-echo", "127.0.0.1:7000"); err != nil {
		return fail(err)
	}
	if err := board.Host.WaitListen(7000, 5*time.Second); err != nil {
		return fail(err)
	}
	load := make(chan flow, 1)
	go func() {
		v, err := iperf(ctx, board.Host, to, 5201, "-t", "10", "--bidir")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		load <- v
	}()
	time.Sleep(time.Second)
	for len(load) == 0 {
		ms, err := firstByte(ctx, api, f.lab.Cloud)
		if err != nil {
			return fail(err)
		}
		r.Control = append(r.Control, ms)
	}
	r.Gbps = (<-load).Gbps
	read := func(file string) string {
		b, _ := os.ReadFile(filepath.Join("/sys/fs/cgroup/memory", group, file))
		return strings.TrimSpace(string(b))
	}
	r.PeakMiB = proc.Status(board.Process.Pid(), "VmHWM:")
	if _, kills, ok := strings.Cut(read("memory.oom_control"), "oom_kill "); ok {
		r.OOMKills, _ = strconv.Atoi(strings.TrimSpace(kills))
	}
	f.lab.Close() // the groups are empty now
	return r
}

func (r smallResult) row() string {
	if r.Err != nil {
		return "failed: " + firstLine(r.Err)
	}
	c := slices.Sorted(slices.Values(r.Control))
	return fmt.Sprintf("| %.2f | %.1f | %d | %.0f / %.0f |", r.Gbps, r.PeakMiB, r.OOMKills, c[len(c)/2], c[len(c)*99/100])
}
