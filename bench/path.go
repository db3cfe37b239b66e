package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// pathResult is what one inner TCP stream moved over a bad path, beside a bare
// TCP stream on the same path. Slices hold one value a round.
type pathResult struct {
	Name       string
	Delay      time.Duration // each way
	Loss       float64       // of packets, each way
	Bare, Over []float64     // Mbit/s
	Congestion string        // the kernel's choice for both
	Err        error
}

func paths(name string) (some []pathResult) {
	for _, p := range []pathResult{
		{Name: "clean"},
		{Name: "1 % loss", Loss: 0.01, Delay: 5 * time.Millisecond},
		{Name: "3 % loss", Loss: 0.03, Delay: 5 * time.Millisecond},
		{Name: "100 ms", Delay: 50 * time.Millisecond},
		{Name: "100 ms, 1 % loss", Delay: 50 * time.Millisecond, Loss: 0.01},
	} {
		if strings.Contains(p.Name, name) {
			some = append(some, p)
		}
	}
	return some
}

// measurePath bridges two boards, moves the first behind the path, and runs
// TCP from it.
func measurePath(ctx context.Context, bin, self string, r pathResult, rounds, seconds int) pathResult {
	fail := func(err error) pathResult { r.Err = err; return r }
	f, to, err := bridgeField(ctx, bin, overlay{TLS: true, Layer: 2, Encap: "ethernet"})
	if err != nil {
		return fail(err)
	}
	defer f.lab.Close()
	one, cloud := f.Boards[0].Host, f.lab.Cloud
	// The relay opens a TAP in each namespace itself.
	w, err := cloud.Start("relay", nil, self, "-relay", one.NS+","+cloud.NS, "-delay", r.Delay.String(), "-loss", strconv.FormatFloat(r.Loss, 'f', -1, 64))
	if err == nil {
		_, err = w.WaitLine("ready", 0, 5*time.Second)
	}
	if err != nil {
		return fail(err)
	}
	for _, c := range [][]string{
		{one.NS, "ip", "link", "set", "slow", "txqueuelen", "1000", "up"}, {cloud.NS, "ip", "link", "set", "slow", "txqueuelen", "1000", "up"},
		{one.NS, "ip", "addr", "flush", "dev", "eth0"}, {cloud.NS, "ip", "addr", "flush", "dev", "veth1"},
		{one.NS, "ip", "addr", "add", "10.99.1.2/24", "dev", "slow"}, {cloud.NS, "ip", "addr", "add", "10.99.1.1/24", "dev", "slow"},
		{one.NS, "ip", "route", "replace", "default", "via", "10.99.1.1"},
	} {
		h := one
		if c[0] == cloud.NS {
			h = cloud
		}
		if _, err := h.Run(ctx, c[1:]...); err != nil {
			return fail(err)
		}
	}
	if cc, err := one.Run(ctx, "cat", "/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		r.Congestion = strings.TrimSpace(cc)
	}
	// New connections, for those that were open know another path.
	f.Boards[0].Process.Stop()
	if err := f.Boards[0].Run(); err != nil {
		return fail(err)
	}
	for start := time.Now(); ; {
		if _, err = one.Run(ctx, "ping", "-n", "-c", "1", "-W", "1", to); err == nil {
			break
		}
		if time.Since(start) > 30*time.Second {
			return fail(err)
		}
	}
	t := strconv.Itoa(seconds)
	for range rounds {
		bare, err := iperf(ctx, one, "10.99.1.1", 5202, "-t", t, "-O", "2") // past slow start
		if err != nil {
			return fail(err)
		}
		over, err := iperf(ctx, one, to, 5201, "-t", t, "-O", "2")
		if err != nil {
			return fail(err)
		}
		r.Bare, r.Over = append(r.Bare, bare.Gbps*1e3), append(r.Over, over.Gbps*1e3)
	}
	return r
}

func (r pathResult) row() string {
	if r.Err != nil {
		return fmt.Sprintf("| %s | failed: %s |", r.Name, firstLine(r.Err))
	}
	return fmt.Sprintf("| %s | %d ms | %.0f %% | %.0f | %.0f | %.2f |", r.Name, 2*r.Delay.Milliseconds(), r.Loss*100, median(r.Bare), median(r.Over), median(r.Over)/median(r.Bare))
}

// firstLine of an error, fit for a table.
func firstLine(err error) string {
	return strings.ReplaceAll(strings.SplitN(err.Error(), "\n", 2)[0], "|", "/")
}
