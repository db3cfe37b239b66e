// Package samples has the queue between the samples of pins and one reader of
// them.
package samples

import (
	"sync"

	"github.com/stack4things/s4t"
)

// Queue holds samples for one reader.
type Queue = Of[s4t.Sample]

// NewQueue returns an empty queue that holds about size samples, and always one
// of each pin.
func NewQueue(size int) *Queue {
	return NewOf(size, func(s *s4t.Sample) string { return s.Pin }, func(s *s4t.Sample) *uint64 { return &s.Merged })
}

// Of holds samples, in any form, for one reader, in order. Where the reader is
// too slow for all of them the newest of each pin wins, and says how many it
// stands for. Its methods may be called from several goroutines.
type Of[T any] struct {
	size  int
	ready chan struct{} // cap 1: there is something to take
	pin   func(*T) string
	count func(*T) *uint64

	mu      sync.Mutex // guards what follows; a leaf
	waiting []T
	merged  uint64
}

// NewOf returns an empty queue that holds about size samples, and always one of
// each pin. pin says of which pin a sample is, merged where it counts those that
// it stands for (s4t.Sample.Merged).
func NewOf[T any](size int, pin func(*T) string, merged func(*T) *uint64) *Of[T] {
	return &Of[T]{size: max(size, 1), ready: make(chan struct{}, 1), pin: pin, count: merged}
}

// Put adds samples.
func (q *Of[T]) Put(list ...T) {
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
func (q *Of[T]) Ready() <-chan struct{} { return q.ready }

// Take returns up to n of the oldest samples, which are the caller's.
func (q *Of[T]) Take(n int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) <= n {
		out := q.waiting
		q.waiting = nil
		return out
	}
	out := append([]T(nil), q.waiting[:n]...)
	q.waiting = q.waiting[:copy(q.waiting, q.waiting[n:])]
	q.wake()
	return out
}

// Merged is how many samples were merged into newer ones so far.
func (q *Of[T]) Merged() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.merged
}

// wake tells the reader.
func (q *Of[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// merge leaves the newest sample of each pin. Caller holds mu.
func (q *Of[T]) merge() {
	type pin struct {
		last   int
		merged uint64
	}
	pins := make(map[string]pin)
	for i := range q.waiting {
		name := q.pin(&q.waiting[i])
		p, seen := pins[name]
		if seen {
			p.merged += 1 + *q.count(&q.waiting[p.last])
			q.merged++
		}
		pins[name] = pin{i, p.merged}
	}
	kept := q.waiting[:0]
	for i := range q.waiting {
		s := q.waiting[i]
		if p := pins[q.pin(&s)]; p.last == i {
			*q.count(&s) += p.merged
			kept = append(kept, s)
		}
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	q.size = max(q.size, 2*len(kept))
}
