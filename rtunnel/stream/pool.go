package stream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/park"
	"github.com/stack4things/s4t/wire"
)

const (
	maxTickets    = 16          // tickets asked for at once (wire.BoardTicket.Count)
	maxDialling   = 64          // rtunnels being opened at once
	maxConns      = 4096        // rtunnels of one board
	excessIdle    = time.Minute // an idle rtunnel more than wanted is closed after this
	sweepInterval = 5 * time.Second
	pingInterval  = 20 * time.Second
	pingTimeout   = 10 * time.Second       // an idle rtunnel that does not answer a ping is closed
	probeTimeout  = 2 * time.Second        // the same after Wake
	minRedial     = 100 * time.Millisecond // after a failure, doubled up to maxRedial, +-20 %
	maxRedial     = 3 * time.Second
	openingAfter  = 500 * time.Millisecond // a target that takes longer is announced, so that the agent keeps waiting
	targetTimeout = 8 * time.Second
)

// PoolConfig configures a [Pool].
type PoolConfig struct {
	Dial    func(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) // required: opens an rtunnel with SubprotocolStreams
	Tickets func(ctx context.Context, n int) ([]string, error)                   // required: n tickets, at most 16, for Dial
	// Connect decides about one stream and connects it to its target. source is
	// where a public port's stream comes from, empty for others. by is what the stream
	// is open by, for [Pool.CutBy]; empty: nothing that ends. Its error goes
	// to who asked. Required.
	Connect func(ctx context.Context, ticket, source string) (local HalfCloser, by string, err error)

	// Moved is told of bytes that a stream has moved, by whoever moves them: it may wait
	// until done closes, which holds that direction of the stream up. Optional.
	Moved func(way Way, n int, done <-chan struct{})

	Changed func()       // optional: called when an rtunnel was opened, could not be opened, or ended; must not block, nor call the Pool
	Log     *slog.Logger // optional: default discards
}

// Way is a direction of a stream, as its board sees it.
type Way int

// The ways.
const (
	Received Way = iota // from the cloud
	Sent                // to the cloud
)

// Pool is the board's side of streams: it keeps idle rtunnels to the tunnel
// agent, and serves the stream that comes on each. An open that takes one is
// replaced at once, and an open that says that more are waiting brings as many
// at once, in parallel.
//
// Lock order: Pool.mu, streamConn.mu; and Pool.mu, the locks of a Conn that
// [rtunnel.Conn.Ping] takes. Under Pool.mu nobody waits for the network: who
// closes or dials does it in a goroutine that wg counts.
type Pool struct {
	cfg  PoolConfig
	kick chan struct{}

	wg sync.WaitGroup // of Run: everything it started

	poller   park.Poller
	burst    park.Burst // of rtunnels; Run's
	lastPark time.Time  // when parkIdle looked; Run's

	mu       sync.Mutex // guards the fields below
	ctx      context.Context
	url      string
	warm     int
	conns    map[*streamConn]*connState
	idleN    int
	dialling int
	redial   time.Duration // next wait after a failure
	notUntil time.Time     // no dialling before
	problem  string
}

// connState is what a Pool knows of a streamConn.
type connState struct {
	url      string
	idle     bool
	since    time.Time // idle since
	pinged   time.Time
	deadline time.Time // it must have said something since pinged by then; zero: no answer is waited for
}

// NewPool returns a Pool that does nothing until Run.
func NewPool(cfg PoolConfig) (*Pool, error) {
	if cfg.Dial == nil || cfg.Tickets == nil || cfg.Connect == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make a pool of rtunnels", "", "Dial, Tickets and Connect are required")
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, kick: make(chan struct{}, 1), conns: map[*streamConn]*connState{}}, nil
}

// Set says what is wanted: nil for no rtunnels. Streams that are open stay.
func (p *Pool) Set(want *wire.DesiredStreams) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url, warm := "", 0
	if want != nil {
		url, warm = want.URL, min(max(want.Warm, 0), maxConns/2)
	}
	if url != p.url {
		p.redial, p.notUntil = 0, time.Time{}
	}
	p.url, p.warm = url, warm
	p.wake()
}

// Wake says that the network may have changed or has come back: what is
// missing is dialled at once, as if no idle rtunnel were left: those that do
// not answer within two seconds are closed.
func (p *Pool) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.redial, p.notUntil, p.problem = 0, time.Time{}, "" // it was of the time before
	now, suspects := time.Now(), 0
	for sc, s := range p.conns {
		p.probe(sc, s, now, probeTimeout)
		if s.idle {
			suspects++
		}
	}
	p.fill(suspects) // as if none of them were idle
	p.wake()
}

// Cut ends all streams that are open: both ends see a reset. Idle rtunnels stay.
func (p *Pool) Cut(why error) { p.cut(func(string) bool { return true }, why) }

// CutBy does it with those that are open by something that is over, as Connect said. What
// is being opened meanwhile may come after it: who ends something calls it again.
func (p *Pool) CutBy(over func(by string) bool, why error) {
	p.cut(func(by string) bool { return by != "" && over(by) }, why)
}

func (p *Pool) cut(which func(by string) bool, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for sc, s := range p.conns {
		if end := sc.current(); !s.idle && end != nil && which(end.by) {
			p.wg.Go(func() { sc.breakOff(end, why) })
		}
	}
}

// PoolStatus is what a Pool has.
type PoolStatus struct {
	Idle    int    // rtunnels that wait for a stream
	Busy    int    // streams
	Problem string // why there are fewer idle ones than wanted; empty if there are not
}

// Status returns the state of now.
func (p *Pool) Status() PoolStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStatus{Idle: p.idleN, Busy: len(p.conns) - p.idleN}
	if p.idleN < p.warm {
		s.Problem = p.problem
	}
	return s
}

// Run keeps the pool until ctx ends, and then closes all streams. It returns
// nil when everything it started has ended. It is called once.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		next := p.maintain(time.Now())
		if !p.parkIdle(time.Now()) {
			next = min(next, park.After)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			p.mu.Lock()
			for sc := range p.conns {
				p.wg.Go(func() { sc.shut(context.Cause(ctx)) })
			}
			p.mu.Unlock()
			p.wg.Wait()
			p.poller.Wait()
			return nil
		case <-p.kick:
		case <-sweep.C:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// parkIdle parks who waits on an rtunnel, every park.After at most, and reports
// whether all are parked.
func (p *Pool) parkIdle(now time.Time) bool {
	if now.Sub(p.lastPark) < park.After {
		return false
	}
	p.lastPark = now
	p.mu.Lock()
	conns, quiet := len(p.conns), true
	for sc := range p.conns {
		quiet = sc.parkIdle() && quiet
	}
	p.mu.Unlock()
	return p.burst.Note(conns) && quiet
}

// wake makes Run look again.
func (p *Pool) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// maintain closes what is too much or dead, dials what is missing, and returns
// when it wants to be called next.
func (p *Pool) maintain(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := sweepInterval
	for sc, s := range p.conns {
		switch {
		case s.idle && (s.url != p.url || p.idleN > p.warm && now.Sub(s.since) > excessIdle):
			p.markBusy(s)
			p.wg.Go(func() { sc.conn.CloseWithStatus(rtunnel.StatusNormal, "not needed any more") })
		case !s.deadline.IsZero() && sc.conn.Idle() < now.Sub(s.pinged):
			s.deadline = time.Time{}
		case !s.deadline.IsZero() && now.After(s.deadline):
			if sc.conn.Silence() > 0 { // a reader that is busy has not looked
				p.cfg.Log.Info("an rtunnel does not answer; closing it", "peer", s.url)
				p.wg.Go(func() { sc.shut(errSilent) })
			}
			s.deadline = time.Time{}
		case !s.deadline.IsZero():
			next = min(next, s.deadline.Sub(now)+time.Millisecond)
		case now.Sub(s.pinged) >= pingInterval:
			p.probe(sc, s, now, pingTimeout)
		}
	}
	if wait := p.notUntil.Sub(now); wait > 0 {
		return min(next, wait)
	}
	p.fill(0)
	return next
}

// probe sends a ping that must be answered within timeout. p.mu is held.
func (p *Pool) probe(sc *streamConn, s *connState, now time.Time, timeout time.Duration) {
	s.pinged, s.deadline = now, now.Add(timeout)
	sc.conn.Ping()
}

// fill dials until warm+waiting rtunnels are idle or on their way. p.mu is
// held, and Run has not returned.
func (p *Pool) fill(waiting int) {
	if p.url == "" || p.warm == 0 || p.ctx == nil || p.ctx.Err() != nil || time.Now().Before(p.notUntil) {
		return
	}
	missing := min(p.warm+waiting-p.idleN-p.dialling, maxDialling-p.dialling, maxConns-len(p.conns)-p.dialling)
	for missing > 0 {
		n := min(missing, maxTickets)
		missing -= n
		p.dialling += n
		url, ctx := p.url, p.ctx
		p.wg.Go(func() { p.open(ctx, url, n) })
	}
}

// open opens n rtunnels.
func (p *Pool) open(ctx context.Context, url string, n int) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	tickets, err := p.cfg.Tickets(ctx, n)
	if err == nil && len(tickets) == 0 {
		err = errors.New("no ticket was given")
	}
	if err != nil {
		cancel()
		p.failed(n, err)
		return
	}
	tickets = tickets[:min(n, len(tickets))]
	p.mu.Lock()
	p.dialling -= n - len(tickets)
	p.mu.Unlock()
	var dials sync.WaitGroup
	for _, ticket := range tickets {
		dials.Add(1)
		p.wg.Go(func() {
			conn, err := p.cfg.Dial(ctx, url, ticket)
			dials.Done()
			if err != nil {
				p.failed(1, err)
				return
			}
			// The handshake has made this goroutine's stack large; an idle
			// rtunnel needs a small one.
			p.wg.Add(1)
			go p.serve(url, conn)
		})
	}
	dials.Wait()
	cancel()
}

// failed notes that n rtunnels could not be opened, and slows down.
func (p *Pool) failed(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialling -= n
	if p.ctx.Err() != nil {
		return
	}
	now := time.Now()
	if now.Before(p.notUntil) { // one of several that failed together
		return
	}
	p.redial = min(max(2*p.redial, minRedial), maxRedial)
	wait := time.Duration(float64(p.redial) * (0.8 + 0.4*rand.Float64()))
	p.notUntil = now.Add(wait)
	p.problem = err.Error()
	p.cfg.Log.Info("cannot open an rtunnel for streams", "err", err, "retry_in", wait)
	p.wake()
	p.cfg.Changed()
}
