package lightningrod

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/doctor"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// keepSession opens session after session until ctx ends.
func (e *Engine) keepSession(ctx context.Context) {
	defer e.moving.running.Wait()
	retry := sessionBackoff()
	flapping := false // the last session was a short one
	for ctx.Err() == nil {
		lived, cut, err := e.oneSession(ctx)
		if ctx.Err() != nil {
			return
		}
		if wamp.ReasonOf(err) == wamp.ReasonLeft {
			e.clearDesired()
		}
		wait := retry.wait()
		switch after := retryAfter(err); {
		case doctor.Refused(err):
			wait = jitter(slowRetry)
		case after > 0:
			wait = busyRetry(after)
			flapping = false
		case lived > 0 && !flapping && !cut && e.returnWithin > 0:
			wait = returning(e.returnWithin)
			retry.reset()
		case lived >= settledAfter, lived > 0 && !flapping:
			retry.reset()
			wait = firstRetry()
		}
		flapping = lived > 0 && lived < settledAfter
		e.mu.Lock()
		e.trouble, e.cause = troubleOf(err), doctor.DiagnosisOf(err)
		e.mu.Unlock()
		e.cfg.Log.Warn("no session with the cloud", "err", err, "retry_in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// retryAfter is when the cloud said that it is worth another try; 0: it did not.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*s4t.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// troubleOf says in the board's words why there is no session.
func troubleOf(err error) string {
	switch {
	case err == nil:
		return "the cloud closed the session"
	case wamp.ReasonOf(err) == wamp.ReasonCloned:
		return "another board uses this board's identity; stop it, or run `lightning-rod leave` on one of them and join it with a code of its own"
	case doctor.Refused(err):
		return "the cloud does not know this board (any more); run `lightning-rod leave` and join with a new code (" + err.Error() + ")"
	}
	return err.Error()
}

// oneSession connects and serves. lived is how long the session lasted, 0 if
// none came about; cut is set where nothing was heard any more at its end: that
// is this board's own path, as far as it can see.
func (e *Engine) oneSession(ctx context.Context) (lived time.Duration, cut bool, err error) {
	c, err := e.connect(ctx, e.urls())
	if err != nil {
		return 0, false, err
	}
	start := time.Now()
	b, err := e.begin(ctx, c, false)
	if err != nil {
		c.Close()
		return 0, false, err
	}
	defer e.setSession(nil, 0)
	for {
		e.setSession(b.cloud, b.welcome.Epoch)
		e.kinds.retry()
		e.cfg.Log.Info("connected", "peer", b.cloud.URL(), "session", b.welcome.Epoch)
		next, err := e.serve(ctx, b)
		if next == nil {
			cut := b.cloud.Cut()
			b.cloud.Close()
			return max(time.Since(start), 1), cut, err
		}
		e.moving.leave(ctx, b.cloud)
		b = next
	}
}

// begun is a session that the cloud has taken in.
type begun struct {
	cloud   cloud
	welcome wire.BoardWelcome
	info    s4t.BoardInfo     // what the cloud was told of the board
	report  *wire.BoardReport // and of what it has; nil: nothing
}

// begin has the cloud take a session in. moved: another one goes on until then.
func (e *Engine) begin(ctx context.Context, c cloud, moved bool) (*begun, error) {
	b := &begun{cloud: c, info: e.info(boardInfo(e.cfg.Version, e.caps))}
	b.info.Terminal = e.cfg.AllowTerminal
	req := e.connecting(b.info)
	req.Moved, b.report = moved, e.first()
	if b.report != nil {
		numbered := *b.report
		numbered.Seq = 1
		numbered.Told, numbered.Received = e.steps()
		req.Report = &numbered
	}
	if err := c.Call(ctx, wamp.Connected, req, &b.welcome); err != nil {
		return nil, firstOf(c, err)
	}
	e.trial.returns(b.welcome.ReturnWithin)
	e.around.resolve()
	e.returnWithin = b.welcome.ReturnWithin
	return b, nil
}

// firstOf prefers the reason why a session ended to the error of a call that
// ended with it.
func firstOf(c cloud, err error) error {
	select {
	case <-c.Done():
		if e := c.Err(); e != nil {
			return e
		}
	default:
	}
	return err
}

// serve follows one session until it ends, or until the board has another one in
// its place, which it returns then.
func (e *Engine) serve(ctx context.Context, b *begun) (next *begun, err error) {
	if err := e.adopt(b.welcome.Desired); err != nil {
		return nil, err
	}
	c := b.cloud
	s := serving{engine: e, cloud: c, epoch: b.welcome.Epoch, info: b.info}
	if b.report != nil && b.welcome.Heard {
		b.report.Epoch = s.epoch
		s.seq, s.told = 1, b.report
	}
	var try move
	defer try.stop()
	try.to(ctx, e, b.welcome.Move)
	refresh := time.NewTicker(jitter(min(max(refreshInterval, b.welcome.Refresh), maxRefresh)))
	defer refresh.Stop()
	again := time.NewTimer(0) // when to look at the report again
	defer again.Stop()
	for {
		var fetch bool
		select {
		case <-ctx.Done():
			return nil, nil
		case <-c.Done():
			return nil, c.Err()
		case url := <-c.Move():
			try.to(ctx, e, url)
			continue
		case other := <-try.opened:
			if next := try.take(ctx, e, other); next != nil {
				return next, nil
			}
			continue
		case g := <-c.Wake():
			e.hear(g)
			fetch = true
		case <-refresh.C:
			fetch = true
		case <-e.askAgain:
			fetch = true
		case <-e.dirty:
		case <-again.C:
			fetch = s.missed
		}
		if fetch {
			s.missed = s.fetch(ctx) != nil
		}
		if wait := s.report(ctx); s.missed {
			again.Reset(retryCall)
		} else if wait > 0 {
			again.Reset(wait)
		}
	}
}

// hear notes a generation that the cloud spoke of.
func (e *Engine) hear(generation int64) {
	e.mu.Lock()
	known := generation <= e.heard
	e.heard = max(e.heard, generation)
	e.mu.Unlock()
	if known && e.streams != nil {
		// Nothing new: the cloud misses something that this board has. Where a NAT has
		// lost its state idle rtunnels are dead, and only the cloud's end knows.
		e.streams.Retry()
	}
}

// serving is what one session has been told so far.
type serving struct {
	engine *Engine
	cloud  cloud
	epoch  int64
	seq    int64 // of the last report that was sent

	info    s4t.BoardInfo     // what the cloud was told of the board
	missed  bool              // the last fetch failed
	since   time.Time         // when the report began to wait for what is on its way; zero: it does not
	told    *wire.BoardReport // the last report that arrived
	ready   int64             // generation of the last ready line
	printed bool
}

// fetch asks for the desired state and applies it.
func (s *serving) fetch(ctx context.Context) error {
	var d wire.BoardDesired
	s.engine.leases.asking()
	err := s.cloud.Call(ctx, wamp.Desired, wire.Empty{}, &d)
	if err == nil {
		if s.engine.trial.answer() {
			s.engine.save()
		}
		err = s.engine.adopt(d)
	}
	if err != nil && ctx.Err() == nil {
		s.engine.cfg.Log.Warn("ask for the desired state", "err", err, "retry_in", retryCall)
	}
	return err
}

// report tells the cloud what the board has, unless it knows. What is on its
// way is given a moment, so that one report tells of much. wait is when to try
// again; 0 when there is nothing to wait for. Each try has a number of its own:
// one that seems to have failed may still arrive.
func (s *serving) report(ctx context.Context) (wait time.Duration) {
	e := s.engine
	r, settled := e.report(s.epoch)
	if !settled {
		if s.since.IsZero() {
			s.since = time.Now()
		}
		if wait := reportDelay - time.Since(s.since); wait > 0 {
			return wait
		}
	}
	s.since = time.Time{}
	info := e.info(s.info)
	if !reflect.DeepEqual(info, s.info) {
		r.Info = &info
	}
	if s.told == nil || !reflect.DeepEqual(*s.told, r) {
		s.seq++
		numbered := r
		numbered.Seq = s.seq
		numbered.Told, numbered.Received = e.steps()
		if e.guests != nil {
			e.guests.telling.before(ctx, e.guests, s.cloud, s.epoch)
		}
		if err := s.cloud.Call(ctx, wamp.Report, numbered, nil); err != nil {
			if ctx.Err() == nil {
				e.cfg.Log.Warn("report to the cloud", "err", err, "retry_in", retryCall)
			}
			return retryCall
		}
		e.told(r)
		r.Recovered, r.Info = "", nil // told once
		s.told, s.info = &r, info
		if settled && e.trial.answer() {
			e.save()
		}
	}
	if settled && (!s.printed || s.ready != r.Generation) {
		s.printed, s.ready = true, r.Generation
		e.cfg.Ready(e.name(), r.Generation)
	}
	return 0
}
