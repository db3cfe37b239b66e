package vswitch

// The writer's place: a queue has one writer at a time. While it sleeps, whoever
// puts the first frame into the queue is told to wake it, and nobody else is
// until the queue was found empty again. So that goroutine may write itself
// before it wakes the writer, or instead.

const (
	nowLimit  = 16 << 10 // bytes that are written without waking the writer: more are worth a second CPU
	nowRounds = 4        // others may go on filling the queue meanwhile
)

// writeNow writes what little waits for the port, as far as that needs no
// waiting. It reports whether the queue is empty; the writer must be woken if
// not. The caller is in the writer's place.
func (p *Port) writeNow() bool {
	if p.try == nil && p.dev == nil || p.rules.Load().rate > 0 {
		return false
	}
	for range nowRounds {
		if !p.q.few(nowLimit) {
			return false
		}
		r, ok := p.q.take(nowLimit)
		if !ok {
			return true
		}
		if !p.tryWrite(r) {
			return false
		}
	}
	return false
}

// tryWrite writes a run, or leaves it in begun.
func (p *Port) tryWrite(r run) bool {
	p.begun = r
	if c := r.sparse; c != nil {
		if !p.tryFrames(c.b[:c.end()], c.b, c.frames, 0) {
			return false
		}
		p.begun.sparse = nil
		p.q.done(run{sparse: c})
	}
	if c := r.bulk; c != nil {
		at := 0
		if r.from > 0 {
			at = c.frames[r.from-1].end
		}
		if !p.tryFrames(r.piece, c.b, c.frames[r.from:r.to], at) {
			return false
		}
	}
	p.begun = run{}
	p.q.done(run{bulk: r.bulk})
	return true
}

// tryFrames is writeFrames that does not wait. It reports whether the frames
// have left.
func (p *Port) tryFrames(whole, b []byte, frames []placed, at int) bool {
	if p.dev != nil { // a device drops rather than makes one wait
		return p.writeFrames(whole, b, frames, at) == nil
	}
	took, all, err := p.try.TryWriteFrames(whole)
	p.took = took && !all
	if took {
		p.count(frames)
	}
	return all && err == nil
}

// finish writes what writeNow has begun. An error that writeNow met is met
// again. What is not finished keeps its memory: the Writer may still hold it.
func (p *Port) finish() error {
	r := p.begun
	if r.sparse == nil && r.bulk == nil {
		return nil
	}
	p.begun = run{}
	if p.took {
		p.took = false
		if err := p.try.Finish(); err != nil {
			return err
		}
		if r.sparse == nil {
			p.q.done(r)
			return nil
		}
		p.q.done(run{sparse: r.sparse})
		r.sparse = nil
	}
	if err := p.write(&pacer{}, r); err != nil {
		return err
	}
	p.q.done(r)
	return nil
}
