package vswitch

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
)

// PortConfig describes a port. Exactly one of Out and Device is set.
type PortConfig struct {
	ID        string           // required: unique in the switch, for events
	MAC       net.HardwareAddr // layer 2, required unless AllowAnySource: the port's own
	Addresses []netip.Prefix   // the port's own, as on its device: 10.77.0.2/24
	Guards    s4t.PortGuards   // which guards are lifted; StormLimit and RateLimit
	Outward   bool             // layer 2: behind the port are others' machines; Guards.Outward says what may go there
	Out       Writer           // an rtunnel
	Device    FrameWriter      // anything else
	Wrap      *Wrapper         // optional, with Out: an encapsulation

	// Peer: behind the port is another switch of the network. Needs Out, and no
	// MAC, addresses, guards or Wrap.
	Peer *PeerConfig
	// Leaving and Twin are of a host that is at two switches while it moves, so that
	// it gets once what goes to all: at the one that it leaves, what a peer floods
	// does not go to it; at the one that it comes to, not what the peer with the ID
	// Twin floods, which is the other.
	Leaving bool
	Twin    string
}

// Port is one port of a switch. Its goroutines are the caller's: one calls Input
// and Flush, another Run.
type Port struct {
	sw    *Switch
	id    string
	out   *Egress
	peer  *PeerConfig // nil: behind it is a host, or a LAN
	rules atomic.Pointer[rules]

	counts   *counters // of out, too
	closed   atomic.Bool
	cut      atomic.Bool  // by loop detection
	outward  atomic.Bool  // what is for it is checked as [Port.mayLeave] says
	attached atomic.Int64 // when its host was asked for its groups, of Switch.now

	// Of the goroutine that calls Input.
	now          int64 // of this batch
	inBatch      bool
	from         Origin // of a peer's frame
	frame        frame
	wakes        []*Port // to wake at Flush
	destinations [cacheSize]cached
	sources      [cacheSize]cached
	claimed      [8]cached // IP sources of its own, beside those of rules
	storm        bucket
	outStorm     bucket // of what leaves the network
	brought      int    // bytes since Throttle
	pace         pacer
	reply        [replyLen]byte
	loop         loopWatch

	learned portEntries // of table
	owned   portEntries // of owners
	snoop   portSnoop   // guarded by groups.mu
}

// rules are what a port's configuration comes to. They are replaced as a
// whole.
type rules struct {
	guards   s4t.PortGuards
	mac      address
	own4     []uint32
	own6     []address
	directed []uint32 // broadcast addresses of the port's IPv4 subnets
	storm    int      // frames/s
	rate     int64    // bytes/s each way; 0: no limit
	outward  bool
	leaving  bool
	twin     string
}

// learnsLike reports whether a port may learn and claim the same with both.
func (r *rules) learnsLike(old *rules) bool {
	a, b := &r.guards, &old.guards
	return a.AllowAnySource == b.AllowAnySource && a.AllowDHCP == b.AllowDHCP && a.AllowRA == b.AllowRA
}

// newRules checks a configuration.
func newRules(layer int, cfg PortConfig) (*rules, error) {
	op := "add port " + cfg.ID + " to the switch"
	if cfg.Outward && layer != 2 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "layer 3 leads to no others' machines")
	}
	if cfg.Peer != nil {
		if cfg.Out == nil || cfg.Peer.Layout == nil || cfg.Wrap != nil || cfg.Outward || len(cfg.MAC) > 0 || len(cfg.Addresses) > 0 {
			return nil, s4t.Errorf(s4t.Invalid, op, "", "a peer has a Writer and a Layout, and nothing of its own")
		}
		cfg.Guards = peerGuards()
	}
	r := &rules{
		guards: cfg.Guards, storm: cfg.Guards.StormLimit, rate: cfg.Guards.RateLimit, outward: cfg.Outward, leaving: cfg.Leaving, twin: cfg.Twin,
	}
	if r.storm == 0 {
		r.storm = defaultStorm
	}
	if r.storm < 0 || r.rate < 0 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "a limit is negative")
	}
	if layer == 2 {
		switch {
		case len(cfg.MAC) == 6 && cfg.MAC[0]&1 == 0:
			r.mac = macAt(cfg.MAC)
		case len(cfg.MAC) != 0 || !cfg.Guards.AllowAnySource:
			return nil, s4t.Errorf(s4t.Invalid, op, "", "%q is not the MAC of one device", cfg.MAC)
		}
	}
	for _, p := range cfg.Addresses {
		if !p.IsValid() {
			return nil, s4t.Errorf(s4t.Invalid, op, "", "an address is not valid")
		}
		a := ipOf(p.Addr())
		if !a.isIPv4() {
			r.own6 = append(r.own6, a)
			continue
		}
		r.own4 = append(r.own4, uint32(a.lo))
		if p.Bits() < 31 {
			r.directed = append(r.directed, uint32(a.lo)|^uint32(0)>>p.Bits())
		}
	}
	return r, nil
}

// Update replaces the guards and addresses of a port while it works. ID, MAC,
// Out and Device must be what they were.
func (p *Port) Update(cfg PortConfig) error {
	r, err := newRules(p.sw.layer, cfg)
	if err != nil {
		return err
	}
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	if p.closed.Load() {
		return s4t.Errorf(s4t.NotFound, "update port "+p.id, "", "it is closed")
	}
	old := p.rules.Load()
	if r.learnsLike(old) {
		p.sw.forgetFixed(p) // what it learned, claimed and leased stays
	} else {
		p.sw.forgetPort(p)
	}
	if err := p.sw.own(p, r); err != nil {
		p.sw.forgetFixed(p)
		p.sw.own(p, old) // they were free a moment ago, and mu is held
		return err
	}
	p.rules.Store(r)
	p.outward.Store(r.outward)
	p.out.rate.Store(r.rate)
	p.sw.announce(p)
	if p.sw.layer == 2 && r.guards.AllowAnySource != old.guards.AllowAnySource {
		p.sw.loops.forget(p)
		p.sw.begin(p, r)
	}
	return nil
}

// Throttle waits for as long as the port's rate limit says before the caller of
// Input brings more, at most until ctx ends or the port is closed. Nothing is
// lost here meanwhile, and no other port waits.
func (p *Port) Throttle(ctx context.Context) {
	wait := p.pace.debt(p.rules.Load().rate, p.brought)
	p.brought = 0
	if wait == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-p.out.gone:
	case <-time.After(wait):
	}
}

// Counters returns what the port counted so far.
func (p *Port) Counters() s4t.PortCounters { return p.counts.snapshot() }

// ID returns the ID of the configuration.
func (p *Port) ID() string { return p.id }

// Close takes the port out of the switch; what waits for it is dropped, and
// Run returns. Close is safe to call more than once.
func (p *Port) Close() { p.sw.remove(p) }

// Run writes what is for this port to its Writer, as [Egress.Run] does.
func (p *Port) Run(ctx context.Context) error { return p.out.Run(ctx) }
