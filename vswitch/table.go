package vswitch

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ageing forgets an address that has not been seen (IEEE 802.1Q's default).
	ageing = 300 * time.Second
	// macLimit bounds the addresses learned from one port.
	macLimit = 1024
)

// entry says which port an address is at. An entry that moves to another port
// is replaced, never changed, so that a cached one is right or stale as a
// whole.
type entry struct {
	port  *Port
	fixed bool         // from a port's configuration: never ages, never moves
	seen  atomic.Int64 // last time as a source, of Switch.now
	gone  atomic.Bool  // replaced or removed
}

// table maps addresses to ports: MACs on layer 2, IP addresses on layer 3.
type table struct {
	mu sync.RWMutex // guards the map and Port.learned
	m  map[address]*entry
}

// cacheSize is the entries of a port's direct-mapped caches of the table.
const cacheSize = 64

// cached is one place of such a cache.
type cached struct {
	addr address
	e    *entry
}

func (a address) slot() int { return int(mix(a.lo, a.hi)) & (cacheSize - 1) }

// lookup returns the entry of a destination, nil if it is unknown or too old.
// p is the port that asks, for its cache.
func (t *table) lookup(p *Port, a address) *entry {
	c := &p.destinations[a.slot()]
	if c.addr != a || c.e == nil || c.e.gone.Load() {
		t.mu.RLock()
		e := t.m[a]
		t.mu.RUnlock()
		if e == nil {
			return nil
		}
		*c = cached{a, e}
	}
	if !c.e.fixed && p.now-c.e.seen.Load() > int64(ageing) {
		return nil
	}
	return c.e
}

// learned says what learning a source address came to.
type learned int

const (
	known   learned = iota
	moved           // it was at another port until now
	refused         // it is fixed to another port
	full            // the port has macLimit of them
)

// learn notes that a is at p.
func (t *table) learn(p *Port, a address) learned {
	c := &p.sources[a.slot()]
	if c.addr == a && c.e != nil && !c.e.gone.Load() {
		if p.now-c.e.seen.Load() > int64(time.Second) {
			c.e.seen.Store(p.now)
		}
		return known
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.m[a]
	switch {
	case e != nil && e.port == p:
		e.seen.Store(p.now)
		*c = cached{a, e}
		return known
	case e != nil && e.fixed:
		return refused
	case p.closed.Load():
		return full
	case p.learned >= macLimit:
		if t.forgetOld(p); p.learned >= macLimit {
			return full
		}
	}
	result := known
	if e != nil {
		if p.now-e.seen.Load() < int64(ageing) {
			result = moved
		}
		e.gone.Store(true)
		e.port.learned--
	}
	e = &entry{port: p}
	e.seen.Store(p.now)
	t.m[a] = e
	p.learned++
	*c = cached{a, e}
	return result
}

// forgetOld drops what aged of a port's addresses. The caller holds mu.
func (t *table) forgetOld(p *Port) {
	for a, e := range t.m {
		if e.port == p && !e.fixed && p.now-e.seen.Load() > int64(ageing) {
			e.gone.Store(true)
			delete(t.m, a)
			p.learned--
		}
	}
}

// fix makes a the port's own; it reports false if it is another's own.
func (t *table) fix(p *Port, a address, fixed bool, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.m[a]; e != nil {
		if e.port == p && e.fixed == fixed {
			return true
		}
		if e.port != p && e.fixed {
			return false
		}
		e.gone.Store(true)
		if !e.fixed {
			e.port.learned--
		}
	}
	e := &entry{port: p, fixed: fixed}
	e.seen.Store(now)
	t.m[a] = e
	if !fixed {
		p.learned++
	}
	return true
}

// forget drops all addresses of a port.
func (t *table) forget(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, e := range t.m {
		if e.port == p {
			e.gone.Store(true)
			delete(t.m, a)
		}
	}
	p.learned = 0
}

// unlearn drops the addresses learned from a port.
func (t *table) unlearn(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, e := range t.m {
		if e.port == p && !e.fixed {
			e.gone.Store(true)
			delete(t.m, a)
		}
	}
	p.learned = 0
}
