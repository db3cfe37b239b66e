package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/netlab"
)

// tunnelResult is what was measured of exposed services.
type tunnelResult struct {
	Name           string
	Up1, Down1     []float64 // Gbit/s, one stream
	Up4, Down4     []float64
	Bare           []float64
	CPU            []float64 // CPU seconds per GiB, upwards
	RTT50, RTT99   float64   // µs of a 64-byte request and answer
	ConnsPerSecond []float64 // short connections, 16 at a time
	IdleKiB        float64   // per idle connection, board and cloud together
	Idle           int
	Err            error
}

// measureTunnel measures a board's services through their public ports.
func measureTunnel(ctx context.Context, bin, self, name string, tls bool, rounds, seconds int) (r tunnelResult) {
	r.Name = name
	f, err := newField(ctx, bin, tls, 1)
	if err != nil {
		r.Err = err
		return r
	}
	defer f.lab.Close()
	board, cloud := f.Boards[0].Host, f.lab.Cloud
	if r.Err = startIperf(board, "iperf", "0.0.0.0", 5201); r.Err != nil {
		return r
	}
	if _, err := board.Start("echo", nil, self, "-echo", "127.0.0.1:7000"); err != nil {
		r.Err = err
		return r
	}
	if r.Err = board.WaitListen(7000, 5*time.Second); r.Err != nil {
		return r
	}
	public := map[int]int{}
	for _, p := range []int{5201, 7000} {
		var s s4t.Service
		if r.Err = f.JSON(ctx, &s, "service", "expose", "board1", strconv.Itoa(p)); r.Err != nil {
			return r
		}
		public[p] = s.PublicPort
	}
	t := strconv.Itoa(seconds)
	for range rounds {
		bare, err := iperf(ctx, cloud, "10.99.1.2", 5201, "-t", "2")
		if err != nil {
			r.Err = err
			return r
		}
		r.Bare = append(r.Bare, bare.Gbps)
		before := cpu(f.pids()...)
		for _, m := range []struct {
			into *[]float64
			args []string
		}{{&r.Up1, nil}, {&r.Down1, []string{"-R"}}, {&r.Up4, []string{"-P", "4"}}, {&r.Down4, []string{"-P", "4", "-R"}}} {
			v, err := iperf(ctx, cloud, "10.99.1.1", public[5201], append([]string{"-t", t}, m.args...)...)
			if err != nil {
				r.Err = err
				return r
			}
			*m.into = append(*m.into, v.Gbps)
			if m.into == &r.Up1 {
				r.CPU = append(r.CPU, (cpu(f.pids()...)-before)/max(v.GiB, 1e-9))
			}
		}
		if v, err := load(ctx, cloud, self, "-conns", fmt.Sprintf("10.99.1.1:%d", public[7000])); err == nil {
			r.ConnsPerSecond = append(r.ConnsPerSecond, v[0])
		}
	}
	if v, err := load(ctx, cloud, self, "-rr", fmt.Sprintf("10.99.1.1:%d", public[7000])); err == nil {
		r.RTT50, r.RTT99 = v[0], v[1]
	}
	r.Idle = 1000
	before := rss(f.Process.Pid()) + rss(f.Boards[0].Process.Pid())
	idle, err := cloud.Start("idle", nil, self, "-idle", fmt.Sprintf("10.99.1.1:%d", public[7000]), "-n", strconv.Itoa(r.Idle))
	if err == nil {
		_, err = idle.WaitLine("ready", 0, 60*time.Second)
	}
	if err != nil {
		r.Err = err
		return r
	}
	time.Sleep(3 * time.Second) // buffers lent for the handshakes are given back
	r.IdleKiB = (rss(f.Process.Pid()) + rss(f.Boards[0].Process.Pid()) - before) * 1024 / float64(r.Idle)
	idle.Stop()
	return r
}

func (r tunnelResult) row() string {
	if r.Err != nil {
		return fmt.Sprintf("| %s | failed: %s |", r.Name, strings.ReplaceAll(strings.SplitN(r.Err.Error(), "\n", 2)[0], "|", "/"))
	}
	m := median
	return fmt.Sprintf("| %s | %.2f / %.2f | %.2f / %.2f | %.2f | %.2f | %.0f / %.0f | %.0f | %.1f |",
		r.Name, m(r.Up1), m(r.Down1), m(r.Up4), m(r.Down4), m(r.Up1)/m(r.Bare), m(r.CPU), r.RTT50, r.RTT99, m(r.ConnsPerSecond), r.IdleKiB)
}

// load runs this program as a load generator in a host and returns the numbers
// it prints.
func load(ctx context.Context, h *netlab.Host, self string, args ...string) ([]float64, error) {
	out, err := h.Run(ctx, append([]string{self}, args...)...)
	if err != nil {
		return nil, err
	}
	var v []float64
	for _, f := range strings.Fields(out) {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil, fmt.Errorf("load generator printed %q", out)
		}
		v = append(v, x)
	}
	return v, nil
}

// echo serves an echo service: what the load generators talk to.
func echo(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// ask sends 64 bytes and waits for them.
func ask(c net.Conn, buf []byte) error {
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

// conns opens n short connections, 16 at a time, each with one request, and
// prints how many a second.
func conns(addr string, n int) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	start := time.Now()
	for range 16 {
		wg.Go(func() {
			buf := make([]byte, 64)
			for range left {
				c, err := net.Dial("tcp", addr)
				if err == nil {
					err = ask(c, buf)
					c.Close()
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(float64(n) / time.Since(start).Seconds())
	return failed
}

// requests prints the percentiles 50 and 99 of 64-byte requests on one
// connection, µs.
func requests(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 64)
	var all []float64
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		start := time.Now()
		if err := ask(c, buf); err != nil {
			return err
		}
		all = append(all, float64(time.Since(start).Nanoseconds())/1e3)
	}
	slices.Sort(all)
	fmt.Println(all[len(all)/2], all[len(all)*99/100])
	return nil
}

// idle opens n connections, uses each once, says ready and holds them.
func idle(addr string, n int) error {
	buf := make([]byte, 64)
	var held []net.Conn
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		if err := ask(c, buf); err != nil {
			return err
		}
		held = append(held, c)
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	for _, c := range held {
		c.Close()
	}
	return nil
}
