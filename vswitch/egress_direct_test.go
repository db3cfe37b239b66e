package vswitch

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
)

// moody is a Writer that takes all, a part or nothing of what it may refuse.
type moody struct {
	t    *testing.T
	rng  *rand.Rand
	mu   sync.Mutex
	came []byte
	rest []byte // taken and not come yet
	n    [3]int // how often each happened
	more chan struct{}
}

func (w *moody) arrive(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.t.Error("a write came before the last one was finished")
	}
	w.came = append(w.came, p...)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *moody) WriteFrames(p []byte) error { w.arrive(p); return nil }

func (w *moody) TryWriteFrames(p []byte) (took, all bool, err error) {
	mood := w.rng.IntN(3)
	w.n[mood]++
	switch mood {
	case 0:
		return false, false, nil
	case 1:
		n := w.rng.IntN(len(p))
		w.arrive(p[:n])
		w.rest = p[n:]
		return true, false, nil
	}
	w.arrive(p)
	return true, true, nil
}

func (w *moody) Finish() error {
	rest := w.rest
	w.rest = nil
	w.arrive(rest)
	return nil
}

func TestFramesKeepTheirOrderWhoeverWritesThem(t *testing.T) {
	l := newLab(t, 2)
	from := l.add(1, s4t.PortGuards{})
	w := &moody{t: t, rng: rand.New(rand.NewPCG(1, 2)), more: make(chan struct{}, 1)}
	to, err := l.sw.Add(PortConfig{ID: "2", MAC: mac(2), Addresses: []netip.Prefix{netip.PrefixFrom(ip4(2), 24)}, Out: w})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := to.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	const total = 3000
	payload := make([]byte, 4)
	for i := range total {
		binary.BigEndian.PutUint32(payload, uint32(i))
		size := 4 + i%7*30
		frame := ether(mac(2), mac(1), typeIPv4, ipv4(ip4(1), ip4(2), protoUDP, udp(9, 9, append(payload, make([]byte, size-4)...))))
		from.Input(append(make([]byte, offloadLen), frame...))
		if i%5 == 4 || i == total-1 {
			from.Flush()
		}
		if i%10 == 9 { // let the port's own goroutine come to rest, so that the next flush writes itself
			for to.Counters().TxFrames < uint64(i+1) {
				runtime.Gosched()
			}
		}
	}
	next := uint32(0)
	for next < total {
		<-w.more
		w.mu.Lock()
		for len(w.came) >= 4 {
			n := int(binary.BigEndian.Uint32(w.came))
			if len(w.came) < 4+n {
				break
			}
			frame := w.came[4+offloadLen : 4+n]
			if len(frame) > 14+20+8 && frame[12] == 8 && frame[13] == 0 && frame[14+9] == protoUDP {
				if got := binary.BigEndian.Uint32(frame[14+20+8:]); got != next {
					t.Fatalf("frame %d came when %d was due", got, next)
				}
				next++
			}
			w.came = w.came[4+n:]
		}
		w.mu.Unlock()
	}
	cancel()
	running.Wait()
	for mood, n := range w.n {
		if n == 0 {
			t.Errorf("mood %d never was", mood)
		}
	}
	if got := to.Counters().TxFrames; got < total {
		t.Errorf("%d frames are counted", got)
	}
	// Nothing is left that would be written again, or never.
	if to.out.unfinished.sparse != nil || to.out.unfinished.bulk != nil {
		t.Error("a run is still begun")
	}
}
