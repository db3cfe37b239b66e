package vswitch

import (
	"context"
	"net"
	"net/netip"
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
// rtunnel.Conn. took says that the frames are on their way, without it none of
// p was written; all says that they have left. After took without all p stays
// as it is until Finish returned. Little frames are written by the goroutine
// that brought them then, which saves waking another.
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

// PortConfig describes a port. Exactly one of Out and Device is set.
type PortConfig struct {
	ID        string           // required: unique in the switch, for events
	MAC       net.HardwareAddr // layer 2, required unless AllowAnySource: the port's own
	Addresses []netip.Prefix   // the port's own, as on its device: 10.77.0.2/24
	Guards    s4t.PortGuards   // which guards are lifted; StormLimit and RateLimit
	Out       Writer           // an rtunnel
	Device    FrameWriter      // anything else
	Wrap      *Wrapper         // optional, with Out: an encapsulation
}

// Wrapper lays out the frames for a Writer whose far end wants them in an
// encapsulation.
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

// Port is a place of a switch. Its goroutines are the caller's: one calls Input
// and Flush, another Run.
type Port struct {
	sw    *Switch
	id    string
	out   Writer
	try   TryWriter // out, if it is one
	dev   FrameWriter
	begun run // what writeNow could not end, for Run; of who is in the writer's place
	took  bool
	lay   func(dst []byte, payload int) int // nil for a device
	q     *queue
	rules atomic.Pointer[rules]

	counts   counters
	closed   atomic.Bool
	gone     chan struct{} // closed with it
	cut      atomic.Bool   // by loop detection
	attached atomic.Int64  // when its host was asked for its groups, of Switch.now

	// Of the goroutine that calls Input.
	now          int64 // of this batch
	inBatch      bool
	frame        frame
	wakes        []*Port // to wake at Flush
	destinations [cacheSize]cached
	sources      [cacheSize]cached
	claimed      [8]address // IP sources that claims let pass last
	claimedGen   uint64
	storm        bucket
	brought      int // bytes since Throttle
	pace         pacer
	reply        [replyLen]byte
	loop         loopWatch

	learned int       // guarded by table.mu
	claims  int       // guarded by claims.mu
	snoop   portSnoop // guarded by groups.mu
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
}

// newRules checks a configuration.
func newRules(layer int, cfg PortConfig) (*rules, error) {
	op := "add port " + cfg.ID + " to the switch"
	r := &rules{guards: cfg.Guards, storm: cfg.Guards.StormLimit, rate: cfg.Guards.RateLimit}
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
	p.sw.forgetPort(p)
	if err := p.sw.own(p, r); err != nil {
		p.sw.own(p, old) // they were free a moment ago, and mu is held
		return err
	}
	p.rules.Store(r)
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
	case <-p.gone:
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

// Run writes what is for this port to its Writer until ctx ends or the port is
// closed, which give nil, or until the Writer returns an error, which it
// returns. A Writer that blocks is not interrupted: the caller closes what is
// underneath.
func (p *Port) Run(ctx context.Context) error {
	pace := pacer{limit: chunkSize}
	for {
		if err := p.finish(); err != nil {
			return err
		}
		run, ok := p.q.take(pace.piece(p.rules.Load().rate))
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-p.gone:
				return nil
			case <-p.q.wake:
			}
			continue
		}
		n := len(run.piece)
		if run.sparse != nil {
			n += run.sparse.end()
		}
		err := p.write(&pace, run)
		p.q.done(run)
		if err != nil {
			return err
		}
		if wait := pace.debt(p.rules.Load().rate, n); wait > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-p.gone:
				return nil
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// write sends one run and counts it.
func (p *Port) write(pace *pacer, r run) error {
	start := time.Now()
	if c := r.sparse; c != nil {
		if err := p.writeFrames(c.b[:c.end()], c.b, c.frames, 0); err != nil {
			return err
		}
	}
	if c := r.bulk; c != nil {
		at := 0
		if r.from > 0 {
			at = c.frames[r.from-1].end
		}
		if err := p.writeFrames(r.piece, c.b, c.frames[r.from:r.to], at); err != nil {
			return err
		}
	}
	pace.took(time.Since(start), len(r.piece))
	return nil
}

// writeFrames sends frames, the first of which begins at b[at]; whole are the
// same bytes in one piece.
func (p *Port) writeFrames(whole, b []byte, frames []placed, at int) error {
	if p.dev == nil {
		if err := p.out.WriteFrames(whole); err != nil {
			return err
		}
	} else {
		for _, f := range frames {
			if err := p.dev.WriteFrame(b[at:f.end]); err != nil {
				return err
			}
			at = f.end
		}
		if err := p.dev.Flush(); err != nil {
			return err
		}
	}
	p.count(frames)
	return nil
}

// count counts frames that were sent.
func (p *Port) count(frames []placed) {
	bytes := 0
	for _, f := range frames {
		bytes += f.size
	}
	p.counts.txFrames.Add(uint64(len(frames)))
	p.counts.txBytes.Add(uint64(bytes))
}

// pacer chooses how much of the bulk lane goes to one write. Sparse flows can
// overtake between two writes only, so a write should not take long on a slow
// path; on a fast one large writes are what makes it fast. It also keeps the
// rate limit.
type pacer struct {
	limit int       // bytes of a piece
	owed  float64   // bytes written beyond the rate
	last  time.Time // when owed was right
}

const (
	minPiece  = 16 << 10
	slowWrite = 4 * time.Millisecond
	fastWrite = time.Millisecond
)

// piece returns the bytes to write next.
func (p *pacer) piece(rate int64) int {
	if rate > 0 {
		return int(min(int64(p.limit), max(rate/50, 1500))) // 20 ms
	}
	return p.limit
}

// took adapts to how long a write of n bytes took.
func (p *pacer) took(d time.Duration, n int) {
	switch {
	case d > slowWrite && n >= p.limit/2:
		p.limit = max(p.limit/2, minPiece)
	case d < fastWrite && n >= p.limit/2:
		p.limit = min(p.limit*2, chunkSize)
	}
}

// debt counts n bytes against the rate in bytes/s and returns how long to wait
// before the next ones.
func (p *pacer) debt(rate int64, n int) time.Duration {
	if rate <= 0 {
		p.owed = 0
		return 0
	}
	now := time.Now()
	if !p.last.IsZero() {
		p.owed = max(0, p.owed-now.Sub(p.last).Seconds()*float64(rate))
	}
	p.last = now
	p.owed += float64(n)
	return time.Duration(p.owed / float64(rate) * float64(time.Second))
}
