package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t/internal/netlab"
)

// flow is what one iperf3 run moved.
type flow struct {
	Gbps float64 // received, Gbit/s
	GiB  float64 // received
	PPS  float64 // received packets/s (UDP)
}

// iperf runs an iperf3 client in a host against a server that listens.
func iperf(ctx context.Context, from *netlab.Host, to string, tcpPort int, args ...string) (flow, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	cmd := from.Command(ctx, append([]string{"iperf3", "-J", "-c", to, "-p", strconv.Itoa(tcpPort)}, args...)...)
	out, err := cmd.Output()
	var r struct {
		End struct {
			Received struct {
				Bytes float64 `json:"bytes"`
				BPS   float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sum struct {
				Seconds float64 `json:"seconds"`
				Packets float64 `json:"packets"`
				Lost    float64 `json:"lost_packets"`
			} `json:"sum"`
		} `json:"end"`
		Error string `json:"error"`
	}
	if e := json.Unmarshal(out, &r); e != nil {
		return flow{}, fmt.Errorf("iperf3 to %s: %w: %s", to, err, bytes.TrimSpace(out))
	}
	if r.Error != "" {
		return flow{}, fmt.Errorf("iperf3 to %s: %s", to, r.Error)
	}
	f := flow{Gbps: r.End.Received.BPS / 1e9, GiB: r.End.Received.Bytes / (1 << 30)}
	if s := r.End.Sum; s.Seconds > 0 {
		f.PPS = (s.Packets - s.Lost) / s.Seconds
	}
	return f, nil
}

// startIperf starts an iperf3 server in a host.
func startIperf(h *netlab.Host, name, addr string, tcpPort int) error {
	_, err := h.Start(name, nil, "iperf3", "-s", "-B", addr, "-p", strconv.Itoa(tcpPort))
	if err != nil {
		return err
	}
	return h.WaitListen(tcpPort, 5*time.Second)
}

// rtts pings every 2 ms for a while and returns the percentiles 50 and 99, ms.
func rtts(ctx context.Context, from *netlab.Host, to string, d time.Duration) (p50, p99 float64, err error) {
	n := int(d / (2 * time.Millisecond))
	out, err := from.Run(ctx, "ping", "-n", "-i", "0.002", "-W", "1", "-c", strconv.Itoa(n), to)
	var all []float64
	for _, line := range strings.Split(out, "\n") {
		if _, rest, ok := strings.Cut(line, "time="); ok {
			if v, e := strconv.ParseFloat(strings.Fields(rest)[0], 64); e == nil {
				all = append(all, v)
			}
		}
	}
	if len(all) < n/10 {
		return 0, 0, fmt.Errorf("ping %s: %d of %d answered: %w", to, len(all), n, err)
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}

// median of what was measured; 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// machine describes where this was measured.
func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			model = strings.TrimSpace(strings.Trim(strings.SplitN(rest, "\n", 2)[0], "\t :"))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	nproc, _ := exec.Command("nproc").Output()
	return fmt.Sprintf("%s, %s cores, Linux %s", model, bytes.TrimSpace(nproc), bytes.TrimSpace(kernel))
}
