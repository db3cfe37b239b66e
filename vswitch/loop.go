package vswitch

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// typeProbe is the EtherType of our probes: IEEE 802 local experimental
	// EtherType 1.
	typeProbe = 0x88b5
	// probeEvery is the least time between two rounds of probes, probeLife how
	// long one that comes back counts.
	probeEvery = 20 * time.Millisecond
	probeLife  = 2 * time.Second
	// cutTime is how long a port stays cut before it is looked whether the loop
	// is still there.
	cutTime = 10 * time.Second
	// echo is how long a frame is remembered.
	echo = time.Second
	// repeats is how often the same frame comes by one port within echo before
	// that is suspicious: a loop in one direction brings it again and again,
	// a host may say the same twice.
	repeats    = 3
	sightCount = 1024
	probeMagic = "s4t loop probe 1"
)

// loops finds out when two ports that may bridge a LAN share one, so that what
// leaves by one comes back by the other. Anything suspicious (the same
// broadcast from two ports, or again and again from one; a MAC that moves)
// makes the switch send a probe out of each such port; a probe that comes back
// is proof, and the port it comes by is cut. Guarded ports cannot be part of a
// loop: what does not come from their own MAC is dropped.
type loops struct {
	nextTest atomic.Int64 // when retest has something to do, of Switch.now; 0: no port is cut

	mu     sync.Mutex // guards the fields below and Port.loop
	sights [sightCount]sight
	nonce  uint64 // of the probes in flight
	probed int64  // when they were sent
	serial uint64 // of the port added last
	ports  []*Port
	lans   int // how many of ports are no peers
}

// sight is a frame to a group that was seen.
type sight struct {
	hash  uint64
	port  *Port
	at    int64
	count int
}

// loopWatch is what loops know of a port.
type loopWatch struct {
	serial uint64
	since  int64 // when it was cut; 0: it is not
	tested int64 // when the test whether the loop is still there began
}

// begin asks for the groups of the host behind a guarded port, and makes one
// with any source part of the loop detection. The caller holds Switch.mu.
func (s *Switch) begin(p *Port, r *rules) {
	if r.guards.AllowAnySource {
		s.loops.mu.Lock()
		defer s.loops.mu.Unlock()
		s.loops.serial++
		p.loop.serial = s.loops.serial
		s.loops.ports = append(s.loops.ports, p)
		if p.peer == nil {
			s.loops.lans++
		}
		return
	}
	p.attached.Store(s.now())
	for _, q := range s.queries() {
		if p.out.put(&frame{pkt: q, eth: q[offloadLen:]}) {
			p.out.q.wakeUp()
		}
	}
}

// watch looks at a frame from a port with any source.
func (l *loops) watch(p *Port, f *frame) reason {
	if f.typ == typeProbe && f.src == p.sw.mac {
		l.probe(p, f)
		return answered
	}
	if p.cut.Load() {
		return loop
	}
	if !f.dst.groupMAC() {
		return pass
	}
	hash := maphash.Bytes(p.sw.seed, f.eth[:min(len(f.eth), 512)])
	l.mu.Lock()
	if l.none() {
		l.mu.Unlock()
		return pass
	}
	e := &l.sights[hash%sightCount]
	if e.hash != hash || p.now-e.at > int64(echo) {
		*e = sight{hash, p, p.now, 1}
		l.mu.Unlock()
		return pass
	}
	e.count++
	other, again := e.port != p, e.count >= repeats
	l.mu.Unlock()
	if other || again {
		l.suspect(p)
	}
	if other {
		return loop
	}
	return pass
}

// none reports whether there can be no loop. The caller holds mu.
func (l *loops) none() bool { return l.lans == 0 || len(l.ports) < 2 }

// suspect sends probes, unless some were sent just now. Only p's reader calls
// it, or Add before there is one.
func (l *loops) suspect(p *Port) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.none() || l.probed != 0 && p.now-l.probed < int64(probeEvery) {
		return
	}
	if l.probed == 0 || p.now-l.probed > int64(probeLife) {
		l.nonce = rand.Uint64()
	}
	l.probed = p.now
	for _, d := range l.ports {
		if d.loop.since != 0 {
			continue
		}
		b := make([]byte, offloadLen+60)
		putEthernet(b[offloadLen:], broadcast, p.sw.mac, typeProbe)
		body := b[offloadLen+14:]
		n := copy(body, probeMagic)
		binary.BigEndian.PutUint64(body[n:], l.nonce)
		binary.BigEndian.PutUint64(body[n+8:], d.loop.serial)
		f := frame{pkt: b, eth: b[offloadLen:], origin: Own | Probe, told: true}
		p.send(d, &f)
	}
}

// probe handles a probe that came back by p.
func (l *loops) probe(p *Port, f *frame) {
	body := f.eth[14:]
	n := len(probeMagic)
	if len(body) < n+16 || string(body[:n]) != probeMagic {
		return
	}
	nonce, serial := binary.BigEndian.Uint64(body[n:]), binary.BigEndian.Uint64(body[n+8:])
	l.mu.Lock()
	defer l.mu.Unlock()
	if nonce != l.nonce || p.now-l.probed > int64(probeLife) {
		return
	}
	i := slices.IndexFunc(l.ports, func(d *Port) bool { return d.loop.serial == serial })
	if i < 0 {
		return
	}
	if p.loop.since != 0 { // still there
		p.loop.since, p.loop.tested = p.now, 0
		return
	}
	from := l.ports[i]
	if from.loop.since != 0 {
		return // the loop is open already
	}
	if p, from = ends(p, from); p == nil {
		return
	}
	p.loop.since, p.loop.tested = p.now, 0
	p.cut.Store(true)
	l.schedule()
	p.sw.table.forgetDynamic(p)
	detail := fmt.Sprintf("what leaves by port %s comes back by port %s: both are on one LAN; port %s is cut until the loop is gone", from.id, p.id, p.id)
	p.sw.log.Warn("a loop was cut: take one of the ports off the LAN", "port", p.id, "peer", from.id)
	p.sw.onEvent(Event{EventLoop, p.id, detail})
}

// ends returns the port that is cut where what leaves by from comes back by p, and
// the other. A loop that leads through another switch is cut by one of the two; one
// that leads through two others is for them to cut.
func ends(p, from *Port) (cut, other *Port) {
	if p.peer != nil {
		p, from = from, p
	}
	if p.peer != nil || from.peer != nil && !from.peer.CutsLoops {
		return nil, nil
	}
	return p, from
}

// retest looks whether the loops of cut ports are still there, and takes the
// ports in use again where not. Every port's frames bring it about: what is
// behind a cut port may be silent until it is asked.
func (l *loops) retest(p *Port) {
	test := false
	l.mu.Lock()
	for _, d := range l.ports {
		switch w := &d.loop; {
		case w.since == 0 || p.now-w.since < int64(cutTime):
		case w.tested == 0:
			w.tested = p.now
			test = true
		case p.now-w.tested > int64(probeLife):
			l.restore(d)
			p.sw.onEvent(Event{EventLoopEnded, d.id, "no probe comes back by the port any more; it is in use again"})
		}
	}
	l.schedule()
	l.mu.Unlock()
	if test {
		l.suspect(p)
	}
}

// restore takes a cut port in use again. What was learned of the others may
// have been learned around the loop. The caller holds mu.
func (l *loops) restore(d *Port) {
	if d.loop.since != 0 {
		for _, o := range l.ports {
			d.sw.table.forgetDynamic(o)
		}
	}
	d.loop.since, d.loop.tested = 0, 0
	d.cut.Store(false)
	l.schedule()
}

// schedule sets nextTest. The caller holds mu.
func (l *loops) schedule() {
	next := int64(0)
	for _, d := range l.ports {
		w := &d.loop
		at := w.since + int64(cutTime)
		if w.tested != 0 {
			at = w.tested + int64(probeLife) + 1
		}
		if w.since != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	l.nextTest.Store(next)
}

// forget drops a port.
func (l *loops) forget(p *Port) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.ports, p) && p.peer == nil {
		l.lans--
	}
	l.ports = slices.DeleteFunc(l.ports, func(o *Port) bool { return o == p })
	l.restore(p)
	for i := range l.sights {
		if l.sights[i].port == p {
			l.sights[i] = sight{}
		}
	}
}
