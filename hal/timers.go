package hal

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// timers call functions at their time, all from one goroutine. They go by the
// monotonic clock.
type timers struct {
	start time.Time
	wake  chan struct{} // cap 1: the first timer is another

	mu   sync.Mutex // guards what follows, and at and index of each timer; a leaf
	heap timerHeap
}

// timer calls fire once each time it is set, with the time that it was set to. fire
// does not wait.
type timer struct {
	fire  func(at time.Duration)
	at    time.Duration // since the start of timers
	index int           // in the heap; -1: not set
}

func newTimer(fire func(at time.Duration)) *timer { return &timer{fire: fire, index: -1} }

func newTimers() *timers { return &timers{start: time.Now(), wake: make(chan struct{}, 1)} }

// now is the time since the start, by the monotonic clock.
func (t *timers) now() time.Duration { return time.Since(t.start) }

// set has x fire at a time, instead of the one that was set before.
func (t *timers) set(x *timer, at time.Duration) {
	t.mu.Lock()
	x.at = at
	if x.index < 0 {
		heap.Push(&t.heap, x)
	} else {
		heap.Fix(&t.heap, x.index)
	}
	first := t.heap[0] == x
	t.mu.Unlock()
	if first {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// stop has x not fire. It may be firing.
func (t *timers) stop(x *timer) {
	t.mu.Lock()
	if x.index >= 0 {
		heap.Remove(&t.heap, x.index)
	}
	t.mu.Unlock()
}

// run fires until ctx ends.
func (t *timers) run(ctx context.Context) {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	type call struct {
		fire func(at time.Duration)
		at   time.Duration
	}
	var due []call
	for {
		now, wait := t.now(), time.Hour
		t.mu.Lock()
		for len(t.heap) > 0 && t.heap[0].at <= now {
			x := heap.Pop(&t.heap).(*timer)
			due = append(due, call{x.fire, x.at})
		}
		if len(t.heap) > 0 {
			wait = t.heap[0].at - now
		}
		t.mu.Unlock()
		if len(due) > 0 {
			for _, x := range due {
				x.fire(x.at)
			}
			clear(due)
			due = due[:0]
			continue
		}
		alarm.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-alarm.C:
		}
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap's.
func (h *timerHeap) Push(x any) {
	x.(*timer).index = len(*h)
	*h = append(*h, x.(*timer))
}

// Pop is heap's.
func (h *timerHeap) Pop() any {
	n := len(*h) - 1
	x := (*h)[n]
	(*h)[n] = nil
	*h, x.index = (*h)[:n], -1
	return x
}
