package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

// overlay is one variant of a virtual network.
type overlay struct {
	Name   string
	TLS    bool
	Layer  int
	Encap  string
	Uplink bool     // to the cloud host, through a Linux bridge, instead of to board 2
	Args   []string // more arguments of `s4t bridge create`
}

// overlayResult is what was measured of one. Slices hold one value a round.
type overlayResult struct {
	overlay
	Fwd1, Rev1, Fwd4, Rev4 []float64 // Gbit/s
	Bare                   []float64 // Gbit/s of the bare veth, in the same round
	CPU                    []float64 // CPU seconds per GiB: both boards and the cloud
	KPPS                   []float64 // 64-byte datagrams delivered, thousands a second
	Idle50, Idle99         []float64 // ms
	Loaded50, Loaded99     []float64 // ms
	BoardMiB, CloudMiB     float64   // resident after the load
	Err                    error
}

// field is a flat lab with a cloud and two boards.
type field struct {
	*cloudlab.Cloud
	lab *netlab.Lab
}

// newField starts one, over TLS or plain HTTP.
func newField(ctx context.Context, bin string, tls bool, boards int) (*field, error) {
	lab, err := netlab.NewFlat(boards)
	if err != nil {
		return nil, err
	}
	c := &cloudlab.Cloud{Lab: lab, Bin: bin, Data: filepath.Join(lab.Dir, "iotronic-data"), Listen: "10.99.1.1:8812"}
	if boards == 0 {
		c.Listen = "127.0.0.1:8812"
	}
	if !tls {
		c.Args = []string{"--tls", "off", "--trusted-proxy", "10.99.0.0/16"}
	}
	f := &field{Cloud: c, lab: lab}
	if err := c.Run(); err != nil {
		lab.Close()
		return nil, err
	}
	for i := range boards {
		if _, err := c.AddBoard(ctx, "board"+strconv.Itoa(i+1)); err != nil {
			lab.Close()
			return nil, err
		}
	}
	return f, nil
}

// pids of the programs under measurement.
func (f *field) pids() []int {
	p := []int{f.Process.Pid()}
	for _, b := range f.Boards {
		p = append(p, b.Process.Pid())
	}
	return p
}

// bridgeField starts a field with two boards, a bridge between them, and iperf3
// servers: 5201 on board 2, which has the address to on the bridge, and 5202 on
// the cloud.
func bridgeField(ctx context.Context, bin string, o overlay) (f *field, to string, err error) {
	if f, err = newField(ctx, bin, o.TLS, 2); err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			f.lab.Close()
		}
	}()
	var br s4t.Bridge
	args := append([]string{"bridge", "create", "bench", "--board", "board1", "--board", "board2", "--layer", strconv.Itoa(o.Layer), "--encapsulation", o.Encap}, o.Args...)
	if err = f.JSON(ctx, &br, args...); err != nil {
		return nil, "", err
	}
	for _, p := range br.Ports {
		if p.Board == "board2" {
			to, _, _ = strings.Cut(p.Addresses[0], "/")
		}
	}
	server := f.Boards[1].Host
	if o.Uplink {
		server, to = f.lab.Cloud, "10.77.0.200"
		for _, c := range [][]string{{"ip", "link", "add", "br0", "type", "bridge"}, {"ip", "link", "set", "br0", "up"}, {"ip", "addr", "add", to + "/24", "dev", "br0"}} {
			if _, err = server.Run(ctx, c...); err != nil {
				return nil, "", err
			}
		}
		if _, err = f.S4T(ctx, "network", "uplink", "bench", "--bridge", "br0"); err != nil {
			return nil, "", err
		}
	}
	if err = startIperf(server, "iperf-overlay", to, 5201); err != nil {
		return nil, "", err
	}
	return f, to, startIperf(f.lab.Cloud, "iperf-bare", "10.99.1.1", 5202)
}

// holdOverlay brings a variant up, says how to use it, and waits for ctx.
func holdOverlay(ctx context.Context, bin, variant string) error {
	some := overlays(variant)
	if len(some) == 0 {
		return fmt.Errorf("there is no overlay variant %q", variant)
	}
	f, to, err := bridgeField(ctx, bin, some[0])
	if err != nil {
		return err
	}
	defer f.lab.Close()
	fmt.Println("pids of iotronic, board 1, board 2:", f.pids())
	fmt.Printf("ip netns exec %s iperf3 -c %s -p 5201\n", f.Boards[0].Host.NS, to)
	fmt.Printf("ip netns exec %s iperf3 -c 10.99.1.1 -p 5202\n", f.Boards[0].Host.NS)
	<-ctx.Done()
	return nil
}

// measureOverlay runs rounds of every measure of one variant, each beside the
// bare veth.
func measureOverlay(ctx context.Context, bin string, o overlay, rounds, seconds int) (r overlayResult) {
	r.overlay = o
	f, to, err := bridgeField(ctx, bin, o)
	if err != nil {
		r.Err = err
		return r
	}
	defer f.lab.Close()
	one := f.Boards[0].Host
	t, short := strconv.Itoa(seconds), strconv.Itoa(max(1, seconds-1))
	for range rounds {
		bare, err := iperf(ctx, one, "10.99.1.1", 5202, "-t", "2")
		if err != nil {
			r.Err = err
			return r
		}
		r.Bare = append(r.Bare, bare.Gbps)
		before := proc.CPU(f.pids()...)
		fwd, err := iperf(ctx, one, to, 5201, "-t", t)
		if err != nil {
			r.Err = err
			return r
		}
		r.Fwd1 = append(r.Fwd1, fwd.Gbps)
		r.CPU = append(r.CPU, (proc.CPU(f.pids()...)-before)/max(fwd.GiB, 1e-9))
		for _, m := range []struct {
			into *[]float64
			args []string
		}{{&r.Rev1, []string{"-R"}}, {&r.Fwd4, []string{"-P", "4"}}, {&r.Rev4, []string{"-P", "4", "-R"}}} {
			v, err := iperf(ctx, one, to, 5201, append([]string{"-t", short}, m.args...)...)
			if err != nil {
				r.Err = err
				return r
			}
			*m.into = append(*m.into, v.Gbps)
		}
		if v, err := iperf(ctx, one, to, 5201, "-t", short, "-u", "-l", "64", "-b", "0"); err == nil {
			r.KPPS = append(r.KPPS, v.PPS/1e3)
		}
		if p50, p99, err := rtts(ctx, one, to, time.Second); err == nil {
			r.Idle50, r.Idle99 = append(r.Idle50, p50), append(r.Idle99, p99)
		}
		done := make(chan error, 1)
		go func() {
			_, err := iperf(ctx, one, to, 5201, "-t", "4")
			done <- err
		}()
		time.Sleep(700 * time.Millisecond) // past slow start
		if p50, p99, err := rtts(ctx, one, to, 2*time.Second); err == nil {
			r.Loaded50, r.Loaded99 = append(r.Loaded50, p50), append(r.Loaded99, p99)
		}
		<-done
	}
	r.BoardMiB, r.CloudMiB = proc.RSS(f.Boards[0].Process.Pid()), proc.RSS(f.Process.Pid())
	return r
}

// row is the result as a line of the Markdown table.
func (r overlayResult) row() string {
	if r.Err != nil {
		return fmt.Sprintf("| %s | failed: %s |", r.Name, strings.ReplaceAll(strings.SplitN(r.Err.Error(), "\n", 2)[0], "|", "/"))
	}
	m := median
	return fmt.Sprintf("| %s | %.2f / %.2f | %.2f / %.2f | %.2f | %.2f | %.0f | %.2f / %.2f | %.2f / %.2f | %.0f / %.0f |",
		r.Name, m(r.Fwd1), m(r.Rev1), m(r.Fwd4), m(r.Rev4), m(r.Fwd1)/m(r.Bare), m(r.CPU), m(r.KPPS), m(r.Idle50), m(r.Idle99), m(r.Loaded50), m(r.Loaded99), r.BoardMiB, r.CloudMiB)
}
