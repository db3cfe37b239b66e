package lightningrod

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t/rtunnel/stream"
)

// paceBurst is how long others may have used nothing for what they use then at once.
const paceBurst = 50 * time.Millisecond

// pacer keeps one direction of all that others move on the board, bundles and the
// rtunnels of ports and streams, to the rate that its owner gives. Bytes are counted when they
// have moved; who moved them waits. It is a [vswitch.Pace].
type pacer struct {
	rate atomic.Int64 // bytes a second; 0: no limit

	mu      sync.Mutex    // guards the fields below, and the changes of rate
	free    time.Time     // when what has moved is paid for
	changed chan struct{} // closed when the rate changes, and replaced
}

func newPacer() *pacer { return &pacer{changed: make(chan struct{})} }

// set changes the rate, in bytes a second, at once: who waits by another looks again.
func (p *pacer) set(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate != p.rate.Load() {
		p.rate.Store(rate)
		p.free = time.Time{}
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// Rate implements [vswitch.Pace].
func (p *pacer) Rate() int64 { return p.rate.Load() }

// Debt implements [vswitch.Pace].
func (p *pacer) Debt(n int) time.Duration {
	wait, _ := p.owe(n)
	return wait
}

// owe counts n bytes that have moved, and says when the next may; changed is closed
// when that is not true any more.
func (p *pacer) owe(n int) (wait time.Duration, changed <-chan struct{}) {
	if p.rate.Load() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := p.rate.Load()
	if rate == 0 {
		return 0, nil
	}
	now := time.Now()
	if start := now.Add(-paceBurst); p.free.Before(start) {
		p.free = start
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.free.Sub(now), p.changed
}

// moved counts n bytes and waits until the next may move, or done closes.
func (p *pacer) moved(n int, done <-chan struct{}) {
	wait, changed := p.owe(n)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-done:
	}
}

// traffic is what others move on the board.
type traffic struct {
	received, sent *pacer // from the cloud, and to it
	usage          *usage
}

// stream counts what a stream has moved, see [stream.PoolConfig].
func (t *traffic) stream(way stream.Way, n int, done <-chan struct{}) {
	if way == stream.Sent {
		t.usage.own().sent.Add(int64(n))
		t.sent.moved(n, done)
		return
	}
	t.usage.own().received.Add(int64(n))
	t.received.moved(n, done)
}

// bundle counts bytes of a bundle that have come; done closes when it is not wanted any
// more.
func (t *traffic) bundle(n int, done <-chan struct{}) {
	t.usage.own().received.Add(int64(n))
	t.received.moved(n, done)
}
