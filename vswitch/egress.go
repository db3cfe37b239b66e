package vswitch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
)

// Writer sends frames to the far end of a port. p is a run of whole frames,
// each behind the header that Config.Header wrote, and is valid during the call
// only. It may block: that stops this port's output and nothing else. An error
// ends the port's Run.
type Writer interface {
	WriteFrames(p []byte) error
}

// TryWriter is a Writer that can also write without waiting; see
// rtunnel.Conn. took says that the frames are being sent, without it none of
// p was written; all says that they have left. After took without all p stays
// as it is until Finish returned. Frames are written by the goroutine that
// brought them then, as long as the path takes them, which saves waking another.
type TryWriter interface {
	Writer
	TryWriteFrames(p []byte) (took, all bool, err error)
	Finish() error
}

// FrameWriter is for a port that is no rtunnel: a device, or an encapsulation.
// WriteFrame gets one offload header and frame, valid and changeable during the
// call; Flush ends a run.
type FrameWriter interface {
	WriteFrame(pkt []byte) error
	Flush() error
}

// Wrapper lays out the frames for a Writer whose far end wants them otherwise
// than behind Config.Header: in an encapsulation, or masked.
type Wrapper struct {
	// Put writes pkt, an offload header and a frame, with all headers it has on
	// the wire, those of Config.Header too, to the start of dst, and returns
	// their length: at most 64 bytes more than pkt's. It is not called
	// concurrently for one port, and must not block.
	Put func(dst, pkt []byte) int
	// MaxFrame is the longest frame, without offload header, that Put is given.
	// Longer ones are dropped.
	MaxFrame int
}

// Pace is a rate that ports share with each other, and with others.
type Pace interface {
	Rate() int64              // bytes a second; 0: no limit
	Debt(n int) time.Duration // counts n bytes that were written, and says when the next may be
}

// Egress is what a port sends by itself: a bounded queue in which small flows
// overtake, and its writer. Every [Port] has one; a board has one between
// its device and the data rtunnel. One goroutine calls Put and Flush (of a
// Port's: any number), another Run.
type Egress struct {
	layer      int
	out        Writer
	try        TryWriter // out, if it is one
	dev        FrameWriter
	putHeader  func(dst []byte, payload int) int // nil for a device
	q          *queue
	rate       atomic.Int64 // bytes/s; 0: no limit
	shared     Pace         // besides; may be nil
	unfinished run          // of the writer (see queue): what writeDirect left for Run
	partly     bool         // of the writer: the TryWriter has a part of it
	counts     *counters
	gone       chan struct{} // closed by Close

	// Of the goroutine that calls Put.
	frame frame
	wake  bool
}

// EgressConfig describes an Egress.
type EgressConfig struct {
	Layer int      // required: 2 (Ethernet) or 3 (IP packets)
	Out   Writer   // required
	Wrap  *Wrapper // required
	Pace  Pace     // optional: default no limit
}

// NewEgress returns an Egress that does nothing until Put.
func NewEgress(cfg EgressConfig) (*Egress, error) {
	if cfg.Layer != 2 && cfg.Layer != 3 || cfg.Out == nil || cfg.Wrap == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make an egress queue", "", "Layer, Out and Wrap are required")
	}
	e := newEgress(cfg.Layer, cfg.Out, nil, nil, cfg.Wrap)
	e.shared = cfg.Pace
	return e, nil
}

// newEgress makes that of a Writer or of a FrameWriter.
func newEgress(layer int, out Writer, dev FrameWriter, putHeader func([]byte, int) int, wrap *Wrapper) *Egress {
	e := &Egress{layer: layer, out: out, dev: dev, q: newQueue(), counts: &counters{}, gone: make(chan struct{})}
	if dev == nil {
		e.putHeader, e.q.wrap = putHeader, wrap
		e.try, _ = out.(TryWriter)
	}
	return e
}

// Put queues one offload header and frame, of which it keeps nothing. It never
// waits: where the queue is full the oldest frames are dropped. Call Flush when
// no more are at hand.
func (e *Egress) Put(pkt []byte) {
	if !e.frame.parse(pkt, e.layer) { // a frame that the switch will not like still is one of some flow
		if len(pkt) <= offloadLen {
			return
		}
		e.frame = frame{pkt: pkt, eth: pkt[offloadLen:]}
	}
	if e.put(&e.frame) {
		e.wake = true
	}
}

// Flush writes what can be written without waiting, and leaves the rest to Run.
func (e *Egress) Flush() {
	if e.wake {
		e.wake = false
		e.flush()
	}
}

// put queues a frame. It reports whether the caller has to call flush when its
// batch is done: nobody else does.
func (e *Egress) put(f *frame) bool {
	dropped, wake := e.q.put(f, e.putHeader)
	if dropped > 0 {
		e.counts.dropped[queueFull].Add(uint64(dropped))
	}
	return wake
}

// flush is for the writer, as put said.
func (e *Egress) flush() {
	if !e.writeDirect() {
		e.q.wakeUp()
	}
}

// Close drops what waits and ends Run. It is called once.
func (e *Egress) Close() {
	e.q.close()
	close(e.gone)
}

// Run writes to the Writer until ctx ends or Close, which give nil, or until
// the Writer returns an error, which it returns. A Writer that blocks is not
// interrupted: the caller closes what is underneath.
func (e *Egress) Run(ctx context.Context) error {
	pace := pacer{limit: chunkSize}
	for {
		if err := e.finish(); err != nil {
			return err
		}
		run, ok := e.q.take(pace.piece(e.limit()))
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-e.gone:
				return nil
			case <-e.q.wake:
			}
			continue
		}
		n := len(run.piece)
		if run.sparse != nil {
			n += run.sparse.end()
		}
		err := e.write(&pace, run)
		e.q.done(run)
		if err != nil {
			return err
		}
		wait := pace.debt(e.rate.Load(), n)
		if e.shared != nil {
			wait = max(wait, e.shared.Debt(n))
		}
		if wait > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-e.gone:
				return nil
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// limit is the least rate that holds, in bytes a second; 0: none does.
func (e *Egress) limit() int64 {
	rate := e.rate.Load()
	if e.shared == nil {
		return rate
	}
	if shared := e.shared.Rate(); shared > 0 && (rate == 0 || shared < rate) {
		return shared
	}
	return rate
}

// write sends one run and counts it.
func (e *Egress) write(pace *pacer, r run) error {
	start := time.Now()
	if c := r.sparse; c != nil {
		if err := e.writeFrames(c.b[:c.end()], c.b, c.frames, 0); err != nil {
			return err
		}
	}
	if c := r.bulk; c != nil {
		at := 0
		if r.from > 0 {
			at = c.frames[r.from-1].end
		}
		if err := e.writeFrames(r.piece, c.b, c.frames[r.from:r.to], at); err != nil {
			return err
		}
	}
	pace.took(time.Since(start), len(r.piece))
	return nil
}

// writeFrames sends frames, the first of which begins at b[at]; whole are the
// same bytes in one piece.
func (e *Egress) writeFrames(whole, b []byte, frames []chunkFrame, at int) error {
	if e.dev == nil {
		if err := e.out.WriteFrames(whole); err != nil {
			return err
		}
	} else {
		for _, f := range frames {
			if err := e.dev.WriteFrame(b[at:f.end]); err != nil {
				return err
			}
			at = f.end
		}
		if err := e.dev.Flush(); err != nil {
			return err
		}
	}
	e.count(frames)
	return nil
}

// count counts frames that were sent.
func (e *Egress) count(frames []chunkFrame) {
	bytes := 0
	for _, f := range frames {
		bytes += f.size
	}
	e.counts.txFrames.Add(uint64(len(frames)))
	e.counts.txBytes.Add(uint64(bytes))
}
