package vswitch

// macLimit bounds the addresses learned from one port.
const macLimit = 1024

// table says at which port an address is: MACs on layer 2, IP addresses on
// layer 3.
type table struct{ entries }

// cacheSize is the entries of a port's direct-mapped caches of the table.
const cacheSize = 64

func (a address) slot() int { return int(mix(a.lo, a.hi)) & (cacheSize - 1) }

// lookup returns the entry of a destination, nil if it is unknown or too old.
// p is the port that asks, for its cache.
func (t *table) lookup(p *Port, a address) *entry {
	c := &p.destinations[a.slot()]
	e := c.valid(a)
	if e == nil {
		if e = t.find(a); e == nil {
			return nil
		}
		*c = cached{a, e}
	}
	if !e.fixed && p.now-e.seen.Load() > int64(ageing) {
		return nil
	}
	return e
}

// learned says what learning a source address came to.
type learned int

const (
	known   learned = iota
	moved           // it was at another port until now
	refused         // it is fixed to another port
	full            // the port has macLimit of them
)

// learn notes that a is at p. Only what changes the table excludes the other
// ports; what is known, or refused, does not.
func (t *table) learn(p *Port, a address) learned {
	c := &p.sources[a.slot()]
	if e := c.valid(a); e != nil {
		e.see(p.now)
		return known
	}
	e := t.find(a)
	switch {
	case e != nil && e.port == p:
		e.see(p.now)
		*c = cached{a, e}
		return known
	case e != nil && e.fixed:
		return refused
	case p.learned.full(p.now):
		return full
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e = t.m[a] // it may have changed
	switch {
	case e != nil && e.port == p:
		return known
	case e != nil && e.fixed:
		return refused
	case p.closed.Load() || !t.makeRoom(p, p.now, true):
		return full
	}
	result := known
	if e != nil {
		if p.now-e.seen.Load() < int64(ageing) {
			result = moved
		}
		t.drop(e)
	}
	*c = cached{a, t.put(p, a, false, p.now)}
	return result
}
