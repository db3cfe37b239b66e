package vswitch

// The writer's place: a queue has one writer at a time. While it sleeps, whoever
// puts the first frame into the queue is told to wake it, and nobody else is
// until the queue was found empty again. So that goroutine may write itself
// before it wakes the writer, or instead. It does, for as long as the path takes
// everything at once: to wake another thread costs more than to write a quarter
// of a megabyte. The writer is for when the path is full.

// nowRounds bounds that: others may go on filling the queue meanwhile.
const nowRounds = 4

// writeNow writes what waits for the outlet, as far as that needs no waiting. It reports whether the queue is empty; the writer must be woken if
// not. The caller is in the writer's place.
func (o *Outlet) writeNow() bool {
	if o.try == nil && o.dev == nil || o.rate.Load() > 0 {
		return false
	}
	for range nowRounds {
		r, ok := o.q.take(chunkSize)
		if !ok {
			return true
		}
		if !o.tryWrite(r) {
			return false
		}
	}
	return false
}

// tryWrite writes a run, or leaves it in begun.
func (o *Outlet) tryWrite(r run) bool {
	o.begun = r
	if c := r.sparse; c != nil {
		if !o.tryFrames(c.b[:c.end()], c.b, c.frames, 0) {
			return false
		}
		o.begun.sparse = nil
		o.q.done(run{sparse: c})
	}
	if c := r.bulk; c != nil {
		at := 0
		if r.from > 0 {
			at = c.frames[r.from-1].end
		}
		if !o.tryFrames(r.piece, c.b, c.frames[r.from:r.to], at) {
			return false
		}
	}
	o.begun = run{}
	o.q.done(run{bulk: r.bulk})
	return true
}

// tryFrames is writeFrames that does not wait. It reports whether the frames
// have left.
func (o *Outlet) tryFrames(whole, b []byte, frames []placed, at int) bool {
	if o.dev != nil { // a device drops rather than makes one wait
		return o.writeFrames(whole, b, frames, at) == nil
	}
	took, all, err := o.try.TryWriteFrames(whole)
	o.took = took && !all
	if took {
		o.count(frames)
	}
	return all && err == nil
}

// finish writes what writeNow has begun. An error that writeNow met is met
// again. What is not finished keeps its memory: the Writer may still hold it.
func (o *Outlet) finish() error {
	r := o.begun
	if r.sparse == nil && r.bulk == nil {
		return nil
	}
	o.begun = run{}
	if o.took {
		o.took = false
		if err := o.try.Finish(); err != nil {
			return err
		}
		if r.sparse == nil {
			o.q.done(r)
			return nil
		}
		o.q.done(run{sparse: r.sparse})
		r.sparse = nil
	}
	if err := o.write(&pacer{}, r); err != nil {
		return err
	}
	o.q.done(r)
	return nil
}
