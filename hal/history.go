package hal

import (
	"math"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// chunkSamples is how many samples a pin's history grows by.
const chunkSamples = 128

// chunk is a piece of a history, 16 bytes a sample. Values are never NaN: a NaN
// stands for samples that were lost, and its time for their number.
type chunk struct {
	at    [chunkSamples]int64 // ns of the monotonic clock, since lightning-rod started
	value [chunkSamples]float64
	first uint64 // Seq of the first
	n     int
}

// histories share what a board may keep. Where it is full the pin that has the
// most gives its oldest.
type histories struct {
	mu     sync.Mutex // guards what follows and every history; a leaf
	chunks int
	limit  int
	all    map[*history]struct{}
}

// history is the newest samples of one pin.
type history struct {
	of     *histories
	chunks []*chunk // the oldest first
	next   uint64   // Seq of the next sample
	closed bool     // nothing is kept any more
}

func newHistories(bytes int) *histories {
	return &histories{limit: max(bytes/(chunkSamples*16), 1), all: map[*history]struct{}{}}
}

// open returns the history of one more pin, whose newest Seq is seq.
func (s *histories) open(seq uint64) *history {
	h := &history{of: s, next: seq + 1}
	s.mu.Lock()
	s.all[h] = struct{}{}
	s.mu.Unlock()
	return h
}

// close forgets a history.
func (h *history) close() {
	h.of.mu.Lock()
	h.of.chunks -= len(h.chunks)
	h.chunks, h.closed = nil, true
	delete(h.of.all, h)
	h.of.mu.Unlock()
}

// add keeps a sample of a time of the monotonic clock, after lost ones, and returns its Seq.
func (h *history) add(at time.Duration, value float64, lost uint64) uint64 {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	now := int64(at)
	if h.closed {
		h.next += lost + 1
		return h.next - 1
	}
	if lost > 0 && len(h.chunks) > 0 {
		h.put(now, int64(min(lost, math.MaxInt64)), math.NaN())
	}
	h.next += lost
	h.put(now, now, value)
	h.next++
	return h.next - 1
}

// put adds an entry. Caller holds of.mu.
func (h *history) put(now, at int64, value float64) {
	var c *chunk
	if n := len(h.chunks); n > 0 {
		c = h.chunks[n-1]
	}
	if c == nil || c.n == chunkSamples {
		c = h.of.chunk(h, now)
		c.first, c.n = h.next, 0
		h.chunks = append(h.chunks, c)
	}
	c.at[c.n], c.value[c.n] = at, value
	c.n++
}

// chunk returns one that is free: one of h that is too old, a new one, or the
// oldest of who has the most. Caller holds mu.
func (s *histories) chunk(h *history, now int64) *chunk {
	if len(h.chunks) > 0 && h.chunks[0].at[0] < now-int64(s4t.PinHistory) && h.chunks[0].last() < now-int64(s4t.PinHistory) {
		return h.pop()
	}
	if s.chunks < s.limit {
		s.chunks++
		return new(chunk)
	}
	most := h
	for other := range s.all {
		if len(other.chunks) > len(most.chunks) {
			most = other
		}
	}
	if len(most.chunks) == 0 { // more pins than chunks: cannot be with the limits of s4t
		s.chunks++
		return new(chunk)
	}
	return most.pop()
}

// last is the time of the newest sample of a chunk.
func (c *chunk) last() int64 {
	for i := c.n - 1; i >= 0; i-- {
		if !math.IsNaN(c.value[i]) {
			return c.at[i]
		}
	}
	return 0
}

// pop takes the oldest chunk. Caller holds of.mu.
func (h *history) pop() *chunk {
	c := h.chunks[0]
	h.chunks = h.chunks[:copy(h.chunks, h.chunks[1:])]
	return c
}

// newest is the Seq of the newest sample.
func (h *history) newest() uint64 {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	return h.next - 1
}

// list returns up to limit samples after a Seq and not before a time, with the
// times that they have by the clock of now: a board without a clock of its own
// starts in 1970, and what it remembers gets the right time with its clock.
func (h *history) list(pin string, after uint64, since time.Time, limit int, now moment) (out []s4t.Sample, more bool) {
	from := int64(now.mono) - int64(now.wall.Sub(since))
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if after >= h.next {
		after = 0
	}
	for i, c := range h.chunks {
		if i+1 < len(h.chunks) && h.chunks[i+1].first <= after+1 {
			continue // all of it is known
		}
		seq := c.first
		for j := range c.n {
			if math.IsNaN(c.value[j]) {
				seq += uint64(c.at[j])
				continue
			}
			if seq > after && c.at[j] >= from {
				if len(out) == limit {
					return out, true
				}
				out = append(out, s4t.Sample{Pin: pin, Seq: seq, At: now.wall.Add(time.Duration(c.at[j]) - now.mono).UTC(), Value: c.value[j]})
			}
			seq++
		}
	}
	return out, false
}
