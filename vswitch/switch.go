package vswitch

import (
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
)

// Config configures a [Switch].
type Config struct {
	Layer    int                               // required: 2 (Ethernet) or 3 (IP packets)
	Validate func(pkt []byte, layer int) error // required: checks an offload header against its frame (link.Validate)
	Header   func(dst []byte, payload int) int // required: writes the header of a Writer's frame, at most 16 bytes (rtunnel.PutHeader)
	OnEvent  func(Event)                       // optional: told of loops by a reader's goroutine; must not block
	Log      *slog.Logger                      // optional: default discards
}

// Event is something that only the data path sees.
type Event struct {
	Kind   string // EventLoop or EventLoopEnded
	Port   string // ID of the port
	Detail string // one line for people
}

// Kinds of events.
const (
	EventLoop      = "port.loop"       // the port was cut: what leaves the switch by another port comes back by it
	EventLoopEnded = "port.loop_ended" // it is in use again
)

// Switch forwards frames between its ports. On layer 2 it learns MACs like a
// bridge (IEEE 802.1Q), except that the MACs and addresses of guarded ports
// are known from their configuration. On layer 3 it forwards by IP address;
// multicast and broadcast go to all ports. It starts no goroutine.
//
// # Locks
//
// They are taken in this order, behind the caller's own (the tunnel agent's: a
// port's, then Agent.mu):
//
//	mu            while a port comes, changes or goes; never for a frame
//	loops.mu      while probes are queued, or what a port learned is dropped
//	groups.mu     shared, while a frame is queued for the members of its group
//	table.mu, owners.mu, queue.mu of a port
//
// loops.mu and groups.mu are not held together, nor are two of the last line,
// under which nothing else is locked. Writers and FrameWriters are called with
// none of them held, OnEvent with loops.mu.
type Switch struct {
	layer    int
	validate func(pkt []byte, layer int) error
	header   func(dst []byte, payload int) int
	onEvent  func(Event)
	log      *slog.Logger
	start    time.Time
	seed     maphash.Seed
	mac      address     // that the switch itself speaks with
	leads    atomic.Bool // the network has an outward port, here or at a peer

	mu     sync.Mutex // guards the adding, changing and removing of ports
	ports  atomic.Pointer[[]*Port]
	table  table
	owners owners
	groups groups
	loops  loops
}

// New returns a Switch without ports.
func New(cfg Config) (*Switch, error) {
	const op = "make a switch"
	if cfg.Layer != 2 && cfg.Layer != 3 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "layer %d is neither 2 nor 3", cfg.Layer)
	}
	if cfg.Validate == nil || cfg.Header == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "Validate and Header are required")
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Switch{
		layer: cfg.Layer, validate: cfg.Validate, header: cfg.Header, onEvent: cfg.OnEvent, log: cfg.Log,
		start: time.Now(), seed: maphash.MakeSeed(),
	}
	s.table.entries = entries{limit: macLimit, of: func(p *Port) *portEntries { return &p.learned }, m: make(map[address]*entry)}
	s.owners.entries = entries{limit: maxClaims, of: func(p *Port) *portEntries { return &p.owned }, m: make(map[address]*entry)}
	s.groups.m = make(map[address]map[*Port]int64)
	s.mac = address{markMAC, 0x02<<40 | rand.Uint64()>>24}
	s.ports.Store(&[]*Port{})
	return s, nil
}

// now is the time since the switch was made, at least 1.
func (s *Switch) now() int64 { return max(1, int64(time.Since(s.start))) }

// Add puts a port into the switch. It refuses an ID, a MAC or an address that
// another port has.
func (s *Switch) Add(cfg PortConfig) (*Port, error) {
	op := "add port " + cfg.ID + " to the switch"
	if cfg.ID == "" || (cfg.Out == nil) == (cfg.Device == nil) {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "ID and one of Out and Device are required")
	}
	r, err := newRules(s.layer, cfg)
	if err != nil {
		return nil, err
	}
	p := &Port{sw: s, id: cfg.ID, peer: cfg.Peer, out: newEgress(s.layer, cfg.Out, cfg.Device, s.header, cfg.Wrap)}
	if cfg.Peer != nil {
		p.out.q.layout = cfg.Peer.Layout
	}
	p.counts = p.out.counts
	p.now = s.now()
	p.attached.Store(p.now)
	p.rules.Store(r)
	p.outward.Store(r.outward)
	p.out.rate.Store(r.rate)
	if err := s.add(p, r); err != nil {
		return nil, err
	}
	p.Flush()
	return p, nil
}

// add is Add but for writing the greeting of the port's host.
func (s *Switch) add(p *Port, r *rules) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range *s.ports.Load() {
		if other.id == p.id {
			return s4t.Errorf(s4t.Conflict, "add port "+p.id+" to the switch", "close it first", "it is in the switch already")
		}
	}
	if err := s.own(p, r); err != nil {
		s.forgetPort(p)
		return err
	}
	ports := append(slices.Clone(*s.ports.Load()), p)
	s.ports.Store(&ports)
	if s.layer == 2 {
		s.begin(p, r)
		s.loops.suspect(p)
	}
	s.announce(p)
	return nil
}

// own enters what is the port's own into the tables. The caller holds mu.
func (s *Switch) own(p *Port, r *rules) error {
	fixed := !r.guards.AllowAnySource
	conflict := func(what string) error {
		return s4t.Errorf(s4t.Conflict, "add port "+p.id+" to the switch", "", "another port has its %s", what)
	}
	now := s.now()
	if s.layer == 2 && r.mac != (address{}) && !s.table.assign(p, r.mac, fixed, now) {
		return conflict("MAC")
	}
	own := slices.Clone(r.own6)
	for _, a := range r.own4 {
		own = append(own, address{markIPv4, uint64(a)})
	}
	for _, a := range own {
		if !s.owners.assign(p, a, true, now) {
			return conflict("address")
		}
		if s.layer == 3 && !s.table.assign(p, a, fixed, now) {
			return conflict("address")
		}
	}
	if s.layer == 2 && fixed {
		s.owners.assign(p, r.mac.eui64(), true, now) // the address its kernel makes; somebody else may not claim it first
	}
	return nil
}

// forgetPort drops what the tables hold of a port. The caller holds mu.
func (s *Switch) forgetPort(p *Port) {
	s.table.forget(p)
	s.owners.forget(p)
}

// forgetFixed drops what they hold of a port's configuration. The caller holds
// mu.
func (s *Switch) forgetFixed(p *Port) {
	s.table.forgetFixed(p)
	s.owners.forgetFixed(p)
}

// remove takes a port out.
func (s *Switch) remove(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.closed.Swap(true) {
		return
	}
	ports := slices.DeleteFunc(slices.Clone(*s.ports.Load()), func(o *Port) bool { return o == p })
	s.ports.Store(&ports)
	s.forgetPort(p)
	s.groups.forget(p)
	s.loops.forget(p)
	p.out.Close()
}

// Input takes one offload header and frame from the port's far end. It keeps
// nothing of pkt, which it may change. It never waits for another port. Call
// Flush when no more frames are at hand.
func (p *Port) Input(pkt []byte) {
	if !p.inBatch {
		p.inBatch = true
		p.now = p.sw.now()
	}
	p.brought += len(pkt)
	p.counts.rxFrames.Add(1)
	p.counts.rxBytes.Add(uint64(max(0, len(pkt)-offloadLen)))
	if why := p.forward(pkt); why != pass {
		p.counts.dropped[why].Add(1)
	}
}

// Flush ends a batch of Input: it writes the little that can be written without
// waiting, and wakes the writers of the ports that got more.
func (p *Port) Flush() {
	p.inBatch = false
	for i, d := range p.wakes {
		d.out.flush()
		p.wakes[i] = nil
	}
	p.wakes = p.wakes[:0]
}

// forward does with a frame what is to be done.
func (p *Port) forward(pkt []byte) reason {
	s, f, r := p.sw, &p.frame, p.rules.Load()
	f.told = false
	if p.closed.Load() {
		return noDestination
	}
	if len(pkt) > offloadLen+s4t.MaxFrame || s.validate(pkt, s.layer) != nil || !f.parse(pkt, s.layer) {
		return invalid
	}
	if s.layer == 3 {
		return p.forwardPacket(f, r)
	}
	if f.dst.lo>>4 == 0x0180c2000000>>4 {
		return bpdu // never forwarded by a bridge (IEEE 802.1Q, table 8-1)
	}
	if f.src.groupMAC() {
		return invalid
	}
	if at := s.loops.nextTest.Load(); at != 0 && p.now >= at {
		s.loops.retest(p)
	}
	if p.peer != nil {
		if why := p.learnFrom(f); why != pass {
			return why
		}
	} else if r.guards.AllowAnySource {
		if why := s.loops.watch(p, f); why != pass {
			return why
		}
		switch s.table.learn(p, f.src) {
		case refused: // of a guarded port: spoofed, or around a loop
			s.loops.suspect(p)
			return spoofedMAC
		case full:
			return macLimited
		case moved:
			s.loops.suspect(p)
		}
	}
	if why := p.guard(f, r); why != pass {
		return why
	}
	if f.dst.groupMAC() {
		return p.group(f, r)
	}
	e := s.table.lookup(p, f.dst)
	if e == nil {
		if !p.storm.take(p.now, r.storm, f.segments()) {
			return storm
		}
		// Only a port with other MACs than its own can be meant.
		return p.flood(f, (*Port).mayHaveOthers)
	}
	if e.port != p {
		p.send(e.port, f)
	}
	return pass
}

// forwardPacket is forward for layer 3.
func (p *Port) forwardPacket(f *frame, r *rules) reason {
	s := p.sw
	if why := p.guardIP(f, r); why != pass {
		return why
	}
	if p.peer != nil {
		if f.src.multicast() {
			return invalid
		}
		if why := p.learnFrom(f); why != pass {
			return why
		}
	} else if r.guards.AllowAnySource && !f.src.multicast() {
		switch s.table.learn(p, f.src) {
		case refused:
			return spoofedIP
		case full:
			return macLimited
		}
	}
	if f.dst.multicast() || f.dst == (address{markIPv4, 0xffffffff}) || f.ip == 4 && slices.Contains(r.directed, uint32(f.dst.lo)) {
		if !p.storm.take(p.now, r.storm, f.segments()) {
			return storm
		}
		p.flood(f, nil)
		return pass
	}
	e := s.table.lookup(p, f.dst)
	if e == nil {
		if !p.storm.take(p.now, r.storm, f.segments()) {
			return storm
		}
		if p.peer != nil && s.directed(f) {
			return p.flood(f, nil)
		}
		return p.flood(f, (*Port).mayHaveOthers)
	}
	if e.port != p {
		p.send(e.port, f)
	}
	return pass
}

// directed reports whether a packet is for the broadcast address of a subnet that a
// port of this switch is in.
func (s *Switch) directed(f *frame) bool {
	return f.ip == 4 && slices.ContainsFunc(*s.ports.Load(), func(d *Port) bool { return slices.Contains(d.rules.Load().directed, uint32(f.dst.lo)) })
}

// mayHaveOthers reports whether behind the port may be addresses that are not
// in its configuration.
func (p *Port) mayHaveOthers() bool { return p.rules.Load().guards.AllowAnySource }

// flood sends a frame to all other ports that to holds for; nil is all.
func (p *Port) flood(f *frame, to func(*Port) bool) reason {
	why := noDestination
	for _, d := range *p.sw.ports.Load() {
		if d != p && !p.spares(d) && (to == nil || to(d)) {
			p.send(d, f)
			why = pass
		}
	}
	return why
}

// send puts a frame into the queue of a port. What comes from a peer goes to no
// other one.
func (p *Port) send(d *Port, f *frame) {
	if d.cut.Load() || p.peer != nil && d.peer != nil && p != d && f.src != (address{}) {
		return
	}
	if d.peer != nil && !f.told {
		f.origin, f.told = p.originOf(f), true
	}
	if d.outward.Load() {
		if why := p.mayLeave(d, f); why != pass {
			d.counts.dropped[why].Add(1)
			return
		}
	}
	if d.out.put(f) {
		p.wakes = append(p.wakes, d)
	}
}
