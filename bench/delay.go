package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/link"
)

// A kernel without netem has no long or lossy paths, so this is a wire of our
// own: a TAP in each of two namespaces, and between them every frame waits, or
// is lost, by itself.

const wireFrames = 8192 // frames on the way in one direction: 12 MB, 1 Gbit/s for 100 ms

// late is a frame on the way.
type late struct {
	at    time.Time
	frame *[2048]byte
	size  int
}

// relay makes the TAP "slow" in the namespaces a and b and moves frames between
// them until ctx ends: each is delayed, and lost with the probability loss.
func relay(ctx context.Context, a, b string, delay time.Duration, loss float64) error {
	var taps [2]*link.Device
	for i, ns := range []string{a, b} {
		var err error
		if taps[i], err = tapIn(ns); err != nil {
			return err
		}
		defer taps[i].Close()
	}
	fmt.Println("ready")
	var running sync.WaitGroup
	for i := range taps {
		pipe := make(chan late, wireFrames)
		pool := sync.Pool{New: func() any { return new([2048]byte) }}
		running.Go(func() {
			defer close(pipe)
			buf := make([]byte, link.MaxPacket)
			next := func() []byte { return buf }
			done := func(n int) {
				if n > len(late{}.frame) || rand.Float64() < loss {
					return
				}
				f := pool.Get().(*[2048]byte)
				l := late{time.Now().Add(delay), f, copy(f[:], buf[:n])}
				select {
				case pipe <- l:
				default: // the wire is full
					pool.Put(f)
				}
			}
			for {
				if _, err := taps[i].ReadFrames(next, done); err != nil {
					return
				}
			}
		})
		running.Go(func() {
			for l := range pipe {
				time.Sleep(time.Until(l.at))
				taps[1-i].Write(l.frame[:l.size]) // what the other end does not take is lost
				pool.Put(l.frame)
			}
		})
	}
	<-ctx.Done()
	for _, t := range taps {
		t.Close()
	}
	running.Wait()
	return nil
}

// tapIn opens the TAP "slow" in a named network namespace, without offloads.
func tapIn(ns string) (d *link.Device, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var f *os.File
		if f, err = os.Open("/run/netns/" + ns); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		d, err = link.Open(link.Config{Name: "slow", Layer: 2, Plain: true})
	}()
	<-done
	return d, err
}
