package vswitch

import (
	"sync"
	"sync/atomic"
	"time"
)

// ageing is how long an address that has not been seen is remembered (IEEE
// 802.1Q's default).
const ageing = 300 * time.Second

// entry says which port an address is at, or whose it is. An entry that goes to
// another port is replaced, never changed, so that a cached one is right or
// stale as a whole.
type entry struct {
	addr  address
	port  *Port
	fixed bool         // from a port's configuration: never ages, never moves
	given bool         // of an owner: the cloud or the data centre gave it, so that it may be used towards the data centre
	index int          // in the list of its port; guarded by entries.mu
	seen  atomic.Int64 // last time as a source, of Switch.now
	gone  atomic.Bool  // replaced or removed
}

// see notes that the address was seen, to the second.
func (e *entry) see(now int64) {
	if now-e.seen.Load() > int64(time.Second) {
		e.seen.Store(now)
	}
}

// cached is one slot of a port's direct-mapped caches of entries.
type cached struct {
	addr address
	e    *entry
}

// valid returns the entry of an address, nil if it is not cached.
func (c *cached) valid(a address) *entry {
	if c.addr == a && c.e != nil && !c.e.gone.Load() {
		return c.e
	}
	return nil
}

// entries are the addresses that ports have, with what each port has in a list
// of its own: nothing here costs more where other ports have many.
type entries struct {
	limit int                        // addresses of one port that are not fixed; of a peer: maxPeerAddresses
	of    func(p *Port) *portEntries // the port's lists
	mu    sync.RWMutex               // guards m, the lists, nextLook and entry.index
	m     map[address]*entry
}

// portEntries are what one port has.
type portEntries struct {
	fixed     []*entry
	dynamic   []*entry     // seen, not configured
	fullUntil atomic.Int64 // before that, of Switch.now, no room can be made
	nextLook  int64        // before that dynamic is not searched for what aged
}

// full reports whether the port has all the addresses it may have and none can
// have aged. It takes no lock, so that to refuse an address costs next to
// nothing.
func (l *portEntries) full(now int64) bool { return now < l.fullUntil.Load() }

// find returns the entry of an address, nil if nobody has it.
func (t *entries) find(a address) *entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[a]
}

// assign gives an address of a port's configuration to the port. It reports
// false if it is fixed to another.
func (t *entries) assign(p *Port, a address, fixed bool, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.m[a]; e != nil {
		if e.port == p && e.fixed == fixed {
			return true
		}
		if e.port != p && e.fixed {
			return false
		}
		t.drop(e)
	}
	t.put(p, a, fixed, now)
	return true
}

// put enters an address that nobody has. The caller holds mu.
func (t *entries) put(p *Port, a address, fixed bool, now int64) *entry {
	e := &entry{addr: a, port: p, fixed: fixed, given: fixed}
	e.seen.Store(now)
	list := t.list(e)
	e.index = len(*list)
	*list = append(*list, e)
	t.m[a] = e
	return e
}

// drop removes an entry. The caller holds mu.
func (t *entries) drop(e *entry) {
	e.gone.Store(true)
	delete(t.m, e.addr)
	list := t.list(e)
	last := len(*list) - 1
	moved := (*list)[last]
	(*list)[e.index], moved.index = moved, e.index
	(*list)[last] = nil
	*list = (*list)[:last]
	t.of(e.port).fullUntil.Store(0)
}

// list returns the list that an entry belongs to. The caller holds mu.
func (t *entries) list(e *entry) *[]*entry {
	l := t.of(e.port)
	if e.fixed {
		return &l.fixed
	}
	return &l.dynamic
}

// makeRoom reports whether a port may have one more address that is not fixed.
// Where it has all it may have, addresses that were not seen for ageing make
// room: the one that was seen longest ago, or, at most once a second, all of
// them. If there is none the port is full, and is not looked at again before one
// can have aged, nor within a second. The caller holds mu.
func (t *entries) makeRoom(p *Port, now int64, all bool) bool {
	l := t.of(p)
	limit := t.limit
	if p.peer != nil {
		limit = maxPeerAddresses
	}
	if len(l.dynamic) < limit {
		return true
	}
	if all && now < l.nextLook {
		l.fullUntil.Store(l.nextLook)
		return false
	}
	l.nextLook = now + int64(time.Second)
	var oldest *entry
	for i := len(l.dynamic) - 1; i >= 0; i-- { // drop moves the last one to i
		e := l.dynamic[i]
		switch {
		case all && now-e.seen.Load() > int64(ageing):
			t.drop(e)
		case oldest == nil || e.seen.Load() < oldest.seen.Load():
			oldest = e
		}
	}
	if !all && now-oldest.seen.Load() > int64(ageing) {
		t.drop(oldest)
	}
	if len(l.dynamic) < limit {
		return true
	}
	l.fullUntil.Store(max(oldest.seen.Load()+int64(ageing), l.nextLook))
	return false
}

// forget drops all addresses of a port.
func (t *entries) forget(p *Port) {
	t.forgetFixed(p)
	t.forgetDynamic(p)
}

// forgetFixed drops those of the port's configuration.
func (t *entries) forgetFixed(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := t.of(p); len(l.fixed) > 0; {
		t.drop(l.fixed[len(l.fixed)-1])
	}
}

// forgetDynamic drops those that were seen.
func (t *entries) forgetDynamic(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := t.of(p); len(l.dynamic) > 0; {
		t.drop(l.dynamic[len(l.dynamic)-1])
	}
}
