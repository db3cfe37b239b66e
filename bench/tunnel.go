package main

import (
	"context"
	"errors"
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
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/internal/netlab"
)

// tunnelResult is what was measured of exposed services.
type tunnelResult struct {
	Name           string
	Up1, Down1     []float64 // Gbit/s, one stream
	Up4, Down4     []float64
	Bare           []float64
	CPU            []float64 // CPU seconds per GiB, upwards
	RTT50, RTT99   []float64 // µs of a 64-byte request and answer
	ConnsPerSecond []float64 // short connections, 16 at a time
	IdleKiB        float64   // per idle connection, board and cloud together
	Err            error
}

// tunnelWay is a way from the cloud's address to a board's iperf3 server and echo
// service.
type tunnelWay struct {
	tunnelResult
	iperf, echo int   // TCP ports at the cloud
	pids        []int // of who carries it
}

// tunnelField brings up a board with an iperf3 server and an echo service, and
// two ways to them: exposed as services, and through two splicing proxies
// without a protocol, the hops of a reverse tunnel and nothing else.
func tunnelField(ctx context.Context, bin, self, name string, tls bool) (f *field, service, splice *tunnelWay, err error) {
	if f, err = newField(ctx, bin, tls, 1); err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			f.lab.Close()
		}
	}()
	board, cloud := f.Boards[0].Host, f.lab.Cloud
	if err := startIperf(board, "iperf", "0.0.0.0", 5201); err != nil {
		return nil, nil, nil, err
	}
	if _, err := board.Start("echo", nil, self, "-echo", "127.0.0.1:7000"); err != nil {
		return nil, nil, nil, err
	}
	service, splice = &tunnelWay{}, &tunnelWay{iperf: 9201, echo: 9700}
	service.Name, splice.Name = name, "two splicing proxies (beside "+name+")"
	service.pids = f.pids()
	for _, hop := range []struct {
		host *netlab.Host
		args string
		tcp  int
	}{
		{board, ":9201=127.0.0.1:5201,:9700=127.0.0.1:7000", 9700},
		{cloud, ":9201=10.99.1.2:9201,:9700=10.99.1.2:9700", 9700},
	} {
		p, err := hop.host.Start("splice-"+hop.host.Name, nil, self, "-splice", hop.args)
		if err == nil {
			err = hop.host.WaitListen(hop.tcp, 5*time.Second)
		}
		if err != nil {
			return nil, nil, nil, err
		}
		splice.pids = append(splice.pids, p.Pid())
	}
	if err := board.WaitListen(7000, 5*time.Second); err != nil {
		return nil, nil, nil, err
	}
	for tcp, public := range map[int]*int{5201: &service.iperf, 7000: &service.echo} {
		var s s4t.Service
		if err := f.JSON(ctx, &s, "service", "expose", "board1", strconv.Itoa(tcp)); err != nil {
			return nil, nil, nil, err
		}
		*public = s.PublicPort
	}
	return f, service, splice, nil
}

// holdTunnel brings the field up, says how to use it, and waits for ctx.
func holdTunnel(ctx context.Context, bin, self, name string) error {
	f, service, splice, err := tunnelField(ctx, bin, self, name, strings.Contains(name, "wss"))
	if err != nil {
		return err
	}
	defer f.lab.Close()
	fmt.Println("pids of iotronic, board 1:", service.pids, "of the splicing proxies:", splice.pids)
	for _, w := range []*tunnelWay{service, splice} {
		for _, what := range []string{"-conns", "-rr", "-idle"} {
			fmt.Printf("ip netns exec %s %s %s 10.99.1.1:%d\n", f.lab.Cloud.NS, self, what, w.echo)
		}
		fmt.Printf("ip netns exec %s iperf3 -c 10.99.1.1 -p %d\n", f.lab.Cloud.NS, w.iperf)
	}
	<-ctx.Done()
	return nil
}

// measureTunnel measures a board's services through their public ports, and the
// same through two splicing proxies, in turns.
func measureTunnel(ctx context.Context, bin, self, name string, tls bool, rounds, seconds int) []tunnelResult {
	f, service, splice, err := tunnelField(ctx, bin, self, name, tls)
	if err != nil {
		return []tunnelResult{{Name: name, Err: err}}
	}
	defer f.lab.Close()
	ways := []*tunnelWay{service, splice}
	for range rounds {
		bare, err := iperf(ctx, f.lab.Cloud, "10.99.1.2", 5201, "-t", "2")
		for _, w := range ways {
			w.Bare = append(w.Bare, bare.Gbps)
			w.Err = errors.Join(w.Err, err)
			w.round(ctx, f, self, seconds)
		}
	}
	for _, w := range ways {
		w.rest(ctx, f, self)
	}
	return []tunnelResult{service.tunnelResult, splice.tunnelResult}
}

// round measures throughput, round trips and connections once.
func (w *tunnelWay) round(ctx context.Context, f *field, self string, seconds int) {
	if w.Err != nil {
		return
	}
	cloud, t := f.lab.Cloud, strconv.Itoa(seconds)
	before := proc.CPU(w.pids...)
	for _, m := range []struct {
		into *[]float64
		args []string
	}{{&w.Up1, nil}, {&w.Down1, []string{"-R"}}, {&w.Up4, []string{"-P", "4"}}, {&w.Down4, []string{"-P", "4", "-R"}}} {
		v, err := iperf(ctx, cloud, "10.99.1.1", w.iperf, append([]string{"-t", t}, m.args...)...)
		if err != nil {
			w.Err = err
			return
		}
		*m.into = append(*m.into, v.Gbps)
		if m.into == &w.Up1 {
			w.CPU = append(w.CPU, (proc.CPU(w.pids...)-before)/max(v.GiB, 1e-9))
		}
	}
	at := fmt.Sprintf("10.99.1.1:%d", w.echo)
	if v, err := load(ctx, cloud, self, "-conns", at); err == nil {
		w.ConnsPerSecond = append(w.ConnsPerSecond, v[0])
	}
	if v, err := load(ctx, cloud, self, "-rr", at); err == nil {
		w.RTT50, w.RTT99 = append(w.RTT50, v[0]), append(w.RTT99, v[1])
	}
}

// rest measures what idle connections cost.
func (w *tunnelWay) rest(ctx context.Context, f *field, self string) {
	if w.Err != nil {
		return
	}
	resident := func() (mib float64) {
		for _, pid := range w.pids {
			mib += proc.RSS(pid)
		}
		return mib
	}
	const n = 1000
	before := resident()
	idle, err := f.lab.Cloud.Start("idle", nil, self, "-idle", fmt.Sprintf("10.99.1.1:%d", w.echo), "-n", strconv.Itoa(n))
	if err == nil {
		_, err = idle.WaitLine("ready", 0, 60*time.Second)
	}
	if err != nil {
		w.Err = err
		return
	}
	time.Sleep(4 * time.Second) // who is idle comes to rest, and memory is given back
	w.IdleKiB = (resident() - before) * 1024 / n
	idle.Stop()
}

func (r tunnelResult) row() string {
	if r.Err != nil {
		return fmt.Sprintf("| %s | failed: %s |", r.Name, strings.ReplaceAll(strings.SplitN(r.Err.Error(), "\n", 2)[0], "|", "/"))
	}
	m := median
	return fmt.Sprintf("| %s | %.2f / %.2f | %.2f / %.2f | %.2f | %.2f | %.0f / %.0f | %.0f | %.1f |",
		r.Name, m(r.Up1), m(r.Down1), m(r.Up4), m(r.Down4), m(r.Up1)/m(r.Bare), m(r.CPU), m(r.RTT50), m(r.RTT99), m(r.ConnsPerSecond), r.IdleKiB)
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

// splice joins TCP connections to "LISTEN=TARGET,..." with a connection to the
// target each, and nothing in between: Go moves the bytes with splice(2).
func splice(pairs string) error {
	var failed = make(chan error)
	for pair := range strings.SplitSeq(pairs, ",") {
		listen, target, _ := strings.Cut(pair, "=")
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go join(c.(*net.TCPConn), target)
			}
		}()
	}
	return <-failed
}

// join moves bytes both ways between c and a connection to target.
func join(c *net.TCPConn, target string) {
	defer c.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	t := to.(*net.TCPConn)
	var both sync.WaitGroup
	for _, d := range [][2]*net.TCPConn{{c, t}, {t, c}} {
		both.Go(func() {
			io.Copy(d[1], d[0])
			d[1].CloseWrite()
		})
	}
	both.Wait()
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
