// Package samples has the queue between the samples of pins and one reader of
// them.
package samples

import (
	"sync"

	"github.com/stack4things/s4t"
)

// Queue holds samples for one reader, in order. Where the reader is too slow for
// all of them the newest of each pin wins, and says how many it stands for. Its
// methods may be called from several goroutines.
type Queue struct {
	size  int
	ready chan struct{} // cap 1: there is something to take

	mu      sync.Mutex // guards what follows; a leaf
	waiting []s4t.Sample
	merged  uint64
}

// NewQueue returns an empty queue that holds about size samples, and always one
// of each pin.
func NewQueue(size int) *Queue {
	return &Queue{size: max(size, 1), ready: make(chan struct{}, 1)}
}

// Put adds samples.
func (q *Queue) Put(list ...s4t.Sample) {
	if len(list) == 0 {
		return
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, list...)
	if len(q.waiting) > q.size {
		q.merge()
	}
	q.mu.Unlock()
	q.wake()
}

// Ready receives when there may be something to take.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Take returns up to n of the oldest samples, which are the caller's.
func (q *Queue) Take(n int) []s4t.Sample {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) <= n {
		out := q.waiting
		q.waiting = nil
		return out
	}
	out := append([]s4t.Sample(nil), q.waiting[:n]...)
	q.waiting = q.waiting[:copy(q.waiting, q.waiting[n:])]
	q.wake()
	return out
}

// Merged is how many samples were merged into newer ones so far.
func (q *Queue) Merged() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.merged
}

// wake tells the reader.
func (q *Queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// merge leaves the newest sample of each pin. Caller holds mu.
func (q *Queue) merge() {
	type pin struct {
		last   int
		merged uint64
	}
	pins := make(map[string]pin)
	for i, s := range q.waiting {
		p, seen := pins[s.Pin]
		if seen {
			p.merged += 1 + q.waiting[p.last].Merged
			q.merged++
		}
		pins[s.Pin] = pin{i, p.merged}
	}
	kept := q.waiting[:0]
	for i, s := range q.waiting {
		if p := pins[s.Pin]; p.last == i {
			s.Merged += p.merged
			kept = append(kept, s)
		}
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	q.size = max(q.size, 2*len(kept))
}
