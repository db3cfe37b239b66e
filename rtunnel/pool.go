package rtunnel

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	maxTickets    = 16          // tickets asked for at once (wire.BoardTicket.Count)
	maxDialling   = 64          // rtunnels being opened at once
	maxLines      = 4096        // rtunnels of one board
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
	Dial       func(ctx context.Context, url, ticket string) (*Conn, error) // required: opens an rtunnel with SubprotocolStreams
	Tickets    func(ctx context.Context, n int) ([]string, error)           // required: n tickets, at most 16, for Dial
	Authorize  func(ticket string) (target string, err error)               // required: decides about one stream; its error goes to who asked
	DialTarget func(ctx context.Context, target string) (net.Conn, error)   // optional: connects to what Authorize returned; default TCP
	Changed    func()                                                       // optional: called when an rtunnel was opened, could not be opened, or ended; must not block, nor call the Pool
	Log        *slog.Logger                                                 // optional: default discards
}

// Pool is the board's side of streams: it keeps idle rtunnels to the tunnel
// agent, and serves the stream that comes on each. An open that takes one is
// replaced at once, and an open that says that more are waiting brings as many
// at once, in parallel.
type Pool struct {
	cfg  PoolConfig
	kick chan struct{}

	wg sync.WaitGroup // of Run: everything it started

	lot       lot
	burst     burst // of rtunnels; Run's
	quietened time.Time

	mu       sync.Mutex // guards the fields below
	ctx      context.Context
	url      string
	warm     int
	lines    map[*line]*lineState
	idleN    int
	dialling int
	redial   time.Duration // next wait after a failure
	notUntil time.Time     // no dialling before
	problem  string
}

// lineState is what a Pool knows of a line.
type lineState struct {
	url      string
	idle     bool
	since    time.Time // idle since
	pinged   time.Time
	deadline time.Time // it must have said something since pinged by then; zero: no answer is waited for
}

// NewPool returns a Pool that does nothing until Run.
func NewPool(cfg PoolConfig) (*Pool, error) {
	if cfg.Dial == nil || cfg.Tickets == nil || cfg.Authorize == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make a pool of rtunnels", "", "Dial, Tickets and Authorize are required")
	}
	if cfg.DialTarget == nil {
		cfg.DialTarget = func(ctx context.Context, target string) (net.Conn, error) {
			return (&net.Dialer{Timeout: targetTimeout}).DialContext(ctx, "tcp", target)
		}
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, kick: make(chan struct{}, 1), lines: map[*line]*lineState{}}, nil
}

// Set says what is wanted: nil for no rtunnels. Streams that are open stay.
func (p *Pool) Set(want *wire.DesiredStreams) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url, warm := "", 0
	if want != nil {
		url, warm = want.URL, min(max(want.Warm, 0), maxLines/2)
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
	p.redial, p.notUntil = 0, time.Time{}
	now, suspects := time.Now(), 0
	for l, s := range p.lines {
		p.probe(l, s, now, probeTimeout)
		if s.idle {
			suspects++
		}
	}
	p.fill(suspects) // as if none of them were idle
	p.wake()
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
	return PoolStatus{Idle: p.idleN, Busy: len(p.lines) - p.idleN, Problem: p.problem}
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
		if !p.quieten(time.Now()) {
			next = min(next, restAfter)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			p.mu.Lock()
			for l := range p.lines {
				p.wg.Go(func() { l.shut(context.Cause(ctx)) })
			}
			p.mu.Unlock()
			p.wg.Wait()
			p.lot.running.Wait()
			return nil
		case <-p.kick:
		case <-sweep.C:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// quieten makes idle lines small, every restAfter at most, and reports whether
// all are.
func (p *Pool) quieten(now time.Time) bool {
	if now.Sub(p.quietened) < restAfter {
		return false
	}
	p.quietened = now
	p.mu.Lock()
	lines, quiet := len(p.lines), true
	for l := range p.lines {
		quiet = l.quieten() && quiet
	}
	p.mu.Unlock()
	return p.burst.settle(lines) && quiet
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
	for l, s := range p.lines {
		switch {
		case s.idle && (s.url != p.url || p.idleN > p.warm && now.Sub(s.since) > excessIdle):
			p.markBusy(s)
			p.wg.Go(func() { l.conn.CloseWithStatus(StatusNormal, "not needed any more") })
		case !s.deadline.IsZero() && l.conn.Idle() < now.Sub(s.pinged):
			s.deadline = time.Time{}
		case !s.deadline.IsZero() && now.After(s.deadline):
			if l.conn.silence() > 0 { // a reader that is busy has not looked
				p.cfg.Log.Info("an rtunnel does not answer; closing it", "peer", s.url)
				p.wg.Go(func() { l.shut(errSilent) })
			}
			s.deadline = time.Time{}
		case !s.deadline.IsZero():
			next = min(next, s.deadline.Sub(now)+time.Millisecond)
		case now.Sub(s.pinged) >= pingInterval:
			p.probe(l, s, now, pingTimeout)
		}
	}
	if wait := p.notUntil.Sub(now); wait > 0 {
		return min(next, wait)
	}
	p.fill(0)
	return next
}

// probe sends a ping that must be answered within timeout. p.mu is held.
func (p *Pool) probe(l *line, s *lineState, now time.Time, timeout time.Duration) {
	s.pinged, s.deadline = now, now.Add(timeout)
	l.conn.sendPing()
}

// fill dials until warm+waiting rtunnels are idle or on their way. p.mu is
// held, and Run has not returned.
func (p *Pool) fill(waiting int) {
	if p.url == "" || p.warm == 0 || p.ctx == nil || p.ctx.Err() != nil || time.Now().Before(p.notUntil) {
		return
	}
	missing := min(p.warm+waiting-p.idleN-p.dialling, maxDialling-p.dialling, maxLines-len(p.lines)-p.dialling)
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
	p.cfg.Changed()
	p.cfg.Log.Info("cannot open an rtunnel for streams", "err", err, "retry_in", wait)
	p.wake()
}

// serve serves streams on conn until it ends; p.wg has counted it.
func (p *Pool) serve(url string, conn *Conn) {
	conn.sleeper.lot = &p.lot
	l := &line{conn: conn, owner: p}
	p.mu.Lock()
	p.dialling--
	p.redial, p.problem = 0, ""
	now := time.Now()
	p.lines[l] = &lineState{url: url, idle: true, since: now, pinged: now}
	p.idleN++
	p.cfg.Changed()
	over := p.ctx.Err() != nil // Run has closed the others already
	p.mu.Unlock()
	if over {
		conn.Close()
	}
	l.run()
}

// over implements lineOwner.
func (p *Pool) over(l *line, _ error) {
	defer p.wg.Done()
	p.mu.Lock()
	p.markBusy(p.lines[l])
	delete(p.lines, l)
	p.cfg.Changed()
	p.mu.Unlock()
	p.wake()
}

// markBusy takes a line out of the idle ones. p.mu is held.
func (p *Pool) markBusy(s *lineState) {
	if s.idle {
		s.idle = false
		p.idleN--
	}
}

// idle implements lineOwner.
func (p *Pool) idle(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.lines[l]; s != nil && !s.idle {
		s.idle, s.since = true, time.Now()
		p.idleN++
	}
}

// control implements lineOwner: it serves an open. It runs in the line's
// reader, which waits until the target is connected.
func (p *Pool) control(l *line, m control) error {
	if m.Open == nil {
		return streamError("an answer came to a question that nobody asked")
	}
	if ending := l.ending(); ending != nil {
		<-ending
	}
	p.mu.Lock()
	ctx := p.ctx
	if s := p.lines[l]; s != nil {
		p.markBusy(s)
	}
	p.fill(min(max(m.Open.Waiting, 0), maxLines))
	p.mu.Unlock()

	slow := time.AfterFunc(openingAfter, func() { control{Opening: set}.send(l.conn) })
	local, err := p.connect(ctx, m.Open.Ticket)
	slow.Stop() // an "opening" that comes late is ignored
	if err != nil {
		p.cfg.Log.Info("a stream was refused", "err", err)
		p.idle(l)
		return refused(err).send(l.conn)
	}
	g := &leg{local: local, open: true, done: make(chan struct{}), ended: func(error) { p.wg.Done() }}
	if !l.begin(g) {
		abort(local)
		return streamError("a stream was asked for while another is open")
	}
	if err := (control{Opened: set}).send(l.conn); err != nil {
		return err
	}
	p.wg.Add(1)
	go l.pump(g)
	return nil
}

// connect authorises a ticket and connects to its target.
func (p *Pool) connect(ctx context.Context, ticket string) (HalfCloser, error) {
	target, err := p.cfg.Authorize(ticket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	c, err := p.cfg.DialTarget(ctx, target)
	if err != nil {
		if s4t.KindOf(err) == s4t.Internal {
			err = s4t.Errorf(s4t.Unavailable, "reach "+target+" on the board", "check that the service runs there", "%w", err)
		}
		return nil, err
	}
	h, ok := c.(HalfCloser)
	if !ok {
		c.Close()
		return nil, s4t.Errorf(s4t.Internal, "reach "+target, "", "a %T cannot be closed half", c)
	}
	return h, nil
}
