package vswitch

import (
	"sync"
	"time"
)

const (
	// queueLimit bounds the bytes that wait for a port whose path is slow: what
	// 80 Mbit/s holds in 100 ms. More only adds delay.
	queueLimit = 1 << 20
	// A fast path may have burstLimit bytes waiting, as long as the oldest have
	// waited for less than maxWait: one TCP stream has a few megabytes in flight
	// (tcp_wmem, tcp_rmem), and to drop some of them makes it send them again,
	// and the flood of them costs more than their waiting.
	burstLimit = 4 << 20
	maxWait    = 50 * time.Millisecond
	// chunkSize is the most that goes to one write.
	chunkSize = 256 << 10
	// sparseSize bounds the small frames that overtake, of all flows of a port.
	sparseSize = 32 << 10
	// sparseFrame is the largest frame that may overtake, sparseFlow the most
	// that one flow may send ahead in one round.
	sparseFrame = 2 << 10
	sparseFlow  = 6 << 10
	flowCount   = 256
	headroom    = 64 // for the header of a Writer's frame
)

// chunkFrame is one frame in a chunk.
type chunkFrame struct {
	end  int // offset behind it
	size int // bytes of the frame without headers, for the counters
}

// chunk is a run of frames as the Writer wants it.
type chunk struct {
	b      []byte
	frames []chunkFrame
	first  int // index of the first frame that is still to go
	start  int // its offset
	seq    uint64
	since  time.Time // of the first frame
}

func (c *chunk) end() int {
	if n := len(c.frames); n > 0 {
		return c.frames[n-1].end
	}
	return 0
}

func (c *chunk) empty() bool { return c.first == len(c.frames) }

// chunkPools hold memory only, shared by all switches of a process, so that a
// port whose queue is empty has none.
var bulkPool, sparsePool sync.Pool

func lendChunk(pool *sync.Pool, size int) *chunk {
	c, ok := pool.Get().(*chunk)
	if !ok {
		c = &chunk{b: make([]byte, size)}
	}
	c.frames, c.first, c.start = c.frames[:0], 0, 0
	return c
}

// flow is what the queue remembers of the flows with one hash.
type flow struct {
	bulk  uint64 // seq of the last bulk chunk with a frame of it
	round uint64 // in which bytes counts
	bytes int    // sent ahead
}

// queue holds the frames that wait for one port, in two lanes, each in order.
// The small frames of a flow that sends little go to the sparse lane, which is
// written first (the idea of fq_codel's new flows, RFC 8290): a ping, a DNS
// answer, an acknowledgement do not wait behind a bulk transfer. A flow that
// has frames in the bulk lane stays there until they are written, so frames of
// one flow are never reordered.
//
// # Who owns what
//
// Any goroutine puts frames in, under mu, for the length of one copy. One at a
// time takes them out: the writer. To be the writer is not bound to a goroutine:
//
//   - Run is the writer from the start, until take finds nothing.
//   - Then nobody is (sleeping). The put that ends this, the first one into the
//     empty queue, says so to its caller (wake), who is the writer then and calls
//     Egress.flush when its batch is done. No other put says so until take finds
//     nothing again.
//   - flush writes what the path takes at once (writeDirect). If take finds
//     nothing, nobody is the writer again. Otherwise what is left of the last run
//     is in Egress.unfinished, and wakeUp makes Run the writer.
//
// Only the writer calls take, done and wakeUp and touches current, unfinished
// and partly, so none of them is locked for it. It is handed over by sleeping,
// under mu, or by wake: the next writer sees all that the last one did.
//
// A chunk is the queue's until take gives it out, then the writer's until done;
// done gives it to the pool. A run that failed is not given back: the Writer may
// still hold its memory. close, by whoever ends the port, empties the queue,
// which takes and gives nothing from then on; what is the writer's stays so.
// wake is never closed: Run learns of the end from Egress.gone.
type queue struct {
	mu       sync.Mutex // guards all fields but wake; nothing else is locked under it
	sparse   *chunk     // nil: empty
	bulk     []*chunk   // oldest first
	current  *chunk     // of the writer: it is not written as a whole yet; bulk does not hold it
	seq      uint64     // of the newest bulk chunk
	written  uint64     // seq of the last bulk chunk that was handed to the writer as a whole
	round    uint64     // counts take
	bytes    int        // in sparse and bulk
	sleeping bool       // the writer waits for wake
	closed   bool
	flows    [flowCount]flow
	wrap     *Wrapper                                      // nil: none
	layout   func(dst []byte, from Origin, pkt []byte) int // of a peer; nil: none

	wake chan struct{} // capacity 1
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put appends a frame; putHeader writes its header. Oldest frames are dropped
// when the queue is full; it returns how many. wake says that the caller is the
// writer now.
func (q *queue) put(f *frame, putHeader func(dst []byte, payload int) int) (dropped int, wake bool) {
	size := len(f.pkt) + headroom
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, false
	}
	if q.wrap != nil && len(f.eth) > q.wrap.MaxFrame {
		return 1, false
	}
	if q.bytes+size > queueLimit {
		for q.excessive(size) && q.dropOldest() {
			dropped++
		}
	}
	c := q.lane(f, size)
	at := c.end()
	n := 0
	switch {
	case q.layout != nil:
		n = q.layout(c.b[at:], f.origin, f.pkt)
	case q.wrap != nil:
		n = q.wrap.Put(c.b[at:], f.pkt)
	default:
		if putHeader != nil {
			n = putHeader(c.b[at:], len(f.pkt))
		}
		n += copy(c.b[at+n:], f.pkt)
	}
	c.frames = append(c.frames, chunkFrame{at + n, len(f.eth)})
	q.bytes += n
	if q.sleeping {
		q.sleeping = false
		return dropped, true
	}
	return dropped, false
}

// lane chooses the chunk for a frame of the flow.
func (q *queue) lane(f *frame, size int) *chunk {
	fl := &q.flows[f.hash%flowCount]
	if size <= sparseFrame && fl.bulk <= q.written {
		if fl.round != q.round {
			fl.round, fl.bytes = q.round, 0
		}
		if q.sparse == nil {
			q.sparse = lendChunk(&sparsePool, sparseSize)
		}
		if fl.bytes+size <= sparseFlow && q.sparse.end()+size <= sparseSize {
			fl.bytes += size
			return q.sparse
		}
	}
	var c *chunk
	if n := len(q.bulk); n > 0 {
		c = q.bulk[n-1]
	}
	if c == nil || c.end()+size > len(c.b) {
		c = lendChunk(&bulkPool, chunkSize)
		q.seq++
		c.seq, c.since = q.seq, time.Now()
		q.bulk = append(q.bulk, c)
	}
	fl.bulk = c.seq
	return c
}

// excessive reports whether too much waits for size bytes more.
func (q *queue) excessive(size int) bool {
	return q.bytes+size > burstLimit ||
		q.bytes+size > queueLimit && len(q.bulk) > 0 && time.Since(q.bulk[0].since) > maxWait
}

// dropOldest drops the oldest frame of the bulk lane.
func (q *queue) dropOldest() bool {
	if len(q.bulk) == 0 {
		return false
	}
	c := q.bulk[0]
	p := c.frames[c.first]
	q.bytes -= p.end - c.start
	c.first++
	c.start = p.end
	if c.empty() {
		q.unlink()
		if q.current == nil {
			q.written = c.seq
		}
		bulkPool.Put(c)
	}
	return true
}

// unlink takes the oldest chunk out of the bulk lane.
func (q *queue) unlink() {
	n := copy(q.bulk, q.bulk[1:])
	q.bulk[n] = nil
	q.bulk = q.bulk[:n]
}

// run is what the writer writes next: first sparse, as a whole, then the
// frames bulk.frames[from:to], which are the bytes piece.
type run struct {
	sparse   *chunk
	bulk     *chunk
	from, to int
	piece    []byte
}

// take returns the next run, with at most limit bytes of bulk but at least one
// frame. ok is false when there is nothing, or the queue is closed: the caller
// then is the writer no more. It gives the run back with done.
func (q *queue) take(limit int) (r run, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.round++
	if q.current == nil && len(q.bulk) > 0 {
		q.current = q.bulk[0]
		q.unlink()
		q.bytes -= q.current.end() - q.current.start
	}
	if q.sparse != nil && q.sparse.empty() {
		sparsePool.Put(q.sparse)
		q.sparse = nil
	}
	if q.sparse != nil {
		r.sparse, q.sparse = q.sparse, nil
		q.bytes -= r.sparse.end()
	}
	if c := q.current; c != nil {
		r.bulk, r.from, r.to = c, c.first, c.first+1
		for r.to < len(c.frames) && c.frames[r.to].end-c.start <= limit {
			r.to++
		}
		end := c.frames[r.to-1].end
		r.piece = c.b[c.start:end]
		c.first, c.start = r.to, end
		if c.empty() {
			q.current, q.written = nil, c.seq
		}
	}
	ok = r.sparse != nil || r.bulk != nil
	q.sleeping = !ok && !q.closed
	return r, ok
}

// done returns the memory of a run that is written.
func (q *queue) done(r run) {
	if r.sparse != nil {
		sparsePool.Put(r.sparse)
	}
	if r.bulk != nil && r.bulk.empty() {
		bulkPool.Put(r.bulk)
	}
}

// wakeUp makes Run the writer. Only the writer may.
func (q *queue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close drops what waits and refuses what comes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.sleeping = true, false
	if q.sparse != nil {
		sparsePool.Put(q.sparse)
		q.sparse = nil
	}
	for _, c := range q.bulk {
		bulkPool.Put(c)
	}
	q.bulk, q.current, q.bytes = nil, nil, 0
}
