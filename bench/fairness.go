package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"github.com/stack4things/s4t"
)

// fairnessResult is what a stopped board costs the others. Slices hold one
// value a round.
type fairnessResult struct {
	Running, Stopped []float64 // Gbit/s between two other boards
	Err              error
}

// measureFairness stops one board of ten, in turn with letting it run.
func measureFairness(ctx context.Context, bin string) (r fairnessResult) {
	fail := func(err error) fairnessResult { r.Err = err; return r }
	f, err := newField(ctx, bin, true, 10)
	if err != nil {
		return fail(err)
	}
	defer f.lab.Close()
	args := []string{"bridge", "create", "bench"}
	for _, b := range f.Boards {
		args = append(args, "--board", b.Name)
	}
	var br s4t.Bridge
	if err := f.JSON(ctx, &br, args...); err != nil {
		return fail(err)
	}
	addresses := map[string]string{}
	var subnet netip.Prefix
	for _, p := range br.Ports {
		addresses[p.Board], _, _ = strings.Cut(p.Addresses[0], "/")
		subnet = netip.MustParsePrefix(p.Addresses[0])
	}
	if err := startIperf(f.Boards[1].Host, "iperf", "0.0.0.0", 5201); err != nil {
		return fail(err)
	}
	last := f.Boards[9]
	defer last.Process.Signal(syscall.SIGCONT)
	// What the stopped board does not take, to it alone and to all.
	for _, to := range []string{addresses[last.Name], lastOf(subnet)} {
		if _, err := f.Boards[3].Host.Start("talk", nil, "ping", "-q", "-b", "-n", "-i", "0.005", "-s", "1400", to); err != nil {
			return fail(err)
		}
	}
	for i := range 10 {
		into, sig := &r.Running, syscall.SIGCONT
		if i%2 == 1 {
			into, sig = &r.Stopped, syscall.SIGSTOP
		}
		if err := last.Process.Signal(sig); err != nil {
			return fail(err)
		}
		v, err := iperf(ctx, f.Boards[0].Host, addresses[f.Boards[1].Name], 5201, "-t", "2")
		if err != nil {
			return fail(err)
		}
		*into = append(*into, v.Gbps)
	}
	return r
}

// lastOf returns the broadcast address of an IPv4 subnet.
func lastOf(p netip.Prefix) string {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b).String()
}

func (r fairnessResult) row() string {
	if r.Err != nil {
		return "failed: " + firstLine(r.Err)
	}
	a, b := median(r.Running), median(r.Stopped)
	return fmt.Sprintf("| %.2f | %.2f | %+.0f %% |", a, b, (b/a-1)*100)
}
