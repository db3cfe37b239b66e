package vswitch

// Frames are written by the goroutine that brought them for as long as the path
// takes everything at once: to wake another thread costs more than to write a
// quarter of a megabyte. Run is for when the path is full. Who may write is said
// at [queue].

// directRounds bounds that: others may go on filling the queue meanwhile.
const directRounds = 4

// writeDirect writes what waits, as far as that needs no waiting. It reports
// whether the queue is empty; if not, Run must be woken. The caller is the
// writer.
func (e *Egress) writeDirect() bool {
	if e.try == nil && e.dev == nil || e.limit() > 0 {
		return false
	}
	for range directRounds {
		r, ok := e.q.take(chunkSize)
		if !ok {
			return true
		}
		if !e.tryRun(r) {
			return false
		}
	}
	return false
}

// tryRun writes a run, or leaves it in unfinished.
func (e *Egress) tryRun(r run) bool {
	e.unfinished = r
	if c := r.sparse; c != nil {
		if !e.tryFrames(c.b[:c.end()], c.b, c.frames, 0) {
			return false
		}
		e.unfinished.sparse = nil
		e.q.done(run{sparse: c})
	}
	if c := r.bulk; c != nil {
		at := 0
		if r.from > 0 {
			at = c.frames[r.from-1].end
		}
		if !e.tryFrames(r.piece, c.b, c.frames[r.from:r.to], at) {
			return false
		}
	}
	e.unfinished = run{}
	e.q.done(run{bulk: r.bulk})
	return true
}

// tryFrames is writeFrames that does not wait. It reports whether the frames
// have left.
func (e *Egress) tryFrames(whole, b []byte, frames []chunkFrame, at int) bool {
	if e.dev != nil { // a device drops rather than makes one wait
		return e.writeFrames(whole, b, frames, at) == nil
	}
	took, all, err := e.try.TryWriteFrames(whole)
	e.partly = took && !all
	if took {
		e.count(frames)
	}
	return all && err == nil
}

// finish writes what writeDirect left unfinished. An error that writeDirect met is met
// again. What is not finished keeps its memory: the Writer may still hold it.
func (e *Egress) finish() error {
	r := e.unfinished
	if r.sparse == nil && r.bulk == nil {
		return nil
	}
	e.unfinished = run{}
	if e.partly {
		e.partly = false
		if err := e.try.Finish(); err != nil {
			return err
		}
		if r.sparse == nil {
			e.q.done(r)
			return nil
		}
		e.q.done(run{sparse: r.sparse})
		r.sparse = nil
	}
	if err := e.write(&pacer{}, r); err != nil {
		return err
	}
	e.q.done(r)
	return nil
}
