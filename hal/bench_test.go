package hal

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// simulated starts a board with n pins of sim that are sampled at a period.
func simulated(b *testing.B, n int, every string) *HAL {
	c := config{}
	for i := range n {
		c.Sim = append(c.Sim, simPin{Device: "d" + itoa(i%8), Pin: "p" + itoa(i), Wave: waveSine, Period: period(every)})
	}
	if err := checkWaves("", c.Sim); err != nil {
		b.Fatal(err)
	}
	sim, err := newSim(c.Sim)
	if err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Drivers: []Driver{sim}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	return h
}

// cpu is what the process has taken so far.
func cpu(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkSampling measures what sampling takes of a core with nobody watching,
// over three seconds.
func BenchmarkSampling(b *testing.B) {
	for _, x := range []struct {
		pins  int
		every time.Duration
	}{{100, 100 * time.Millisecond}, {20, time.Millisecond}, {200, 10 * time.Millisecond}} {
		b.Run(fmt.Sprintf("pins=%d/period=%s", x.pins, x.every), func(b *testing.B) {
			h := simulated(b, x.pins, x.every.String())
			for b.Loop() {
				const over = 3 * time.Second
				seqs := func() (n uint64) {
					for _, p := range h.list {
						if s := p.newest.Load(); s != nil {
							n += s.Seq
						}
					}
					return n
				}
				time.Sleep(100 * time.Millisecond)
				used, seq := cpu(b), seqs()
				time.Sleep(over)
				b.ReportMetric(100*float64(cpu(b)-used)/float64(over), "%core")
				b.ReportMetric(float64(seqs()-seq)/over.Seconds(), "samples/s")
			}
		})
	}
}

func BenchmarkNewest(b *testing.B) {
	h := simulated(b, 1, "10ms")
	p := h.list[0]
	for p.newest.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	for b.Loop() {
		if _, ok := p.Newest(); !ok {
			b.Fatal("it is not sampled")
		}
	}
}

// BenchmarkEdge is from the write of an output to the sample of the input that shows it.
func BenchmarkEdge(b *testing.B) {
	h, err := New(Config{Drivers: []Driver{}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	defer func() { cancel(); <-done }()
	out, _ := h.Pin("sim/demo/out")
	in, _ := h.Pin("sim/demo/in")
	edge := make(chan struct{}, 1)
	var n atomic.Int64
	defer in.Watch(func(s4t.Sample) { n.Add(1); edge <- struct{}{} })()
	in.Read(ctx)
	v := 0.
	for b.Loop() {
		v = 1 - v
		if err := out.Write(ctx, Order{Value: v}); err != nil {
			b.Fatal(err)
		}
		<-edge
	}
}
