package registration

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Queue is what a Registration needs of package queue.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
}

// Config configures a [Registration]. Its functions are called by Run, one at a
// time.
type Config struct {
	Hello wire.AgentHello // required: who registers; a new Incarnation with every start
	Queue Queue           // required

	// Registered is called after every hello that was answered: the conductor
	// may have forgotten what it was told. lease ends when the lease is lost, or
	// Run ends; it is the same one as long as neither happens. An error makes it
	// say hello again. Required.
	Registered func(lease context.Context, welcome wire.AgentWelcome) error

	// Leased is told each answer to a beat. Optional.
	Leased func(wire.AgentLease)

	// Lost is called when the lease has ended before its Run: the agent serves
	// nobody any more when it returns, and then says hello again. Required.
	Lost func()

	// Uses says how much of quotas is used here now, where that is not nothing.
	// The conductor is told with each beat what has changed. Optional.
	Uses func() []wire.Use

	Log *slog.Logger // optional: default discards
}

// Times of a registration.
const (
	beatInterval = 5 * time.Second // the conductor counts on it; a third of a lease that is shorter than three of them
	callTimeout  = 3 * time.Second // of a hello and of a beat
)

// Registration is the registration of one agent.
type Registration struct {
	cfg   Config
	renew chan struct{} // the conductor may not know the agent; capacity 1

	// The rest is Run's alone.
	until  time.Time       // end of the lease, by the monotonic clock; zero: it does not end by itself
	lease  context.Context // nil: none is held
	cancel context.CancelFunc
	told   map[use]int64 // what the conductor was told of Uses
}

// use is what a [wire.Use] is of.
type use struct {
	project s4t.ProjectID
	key     s4t.QuotaKey
}

// New returns a Registration that does nothing until Run.
func New(cfg Config) (*Registration, error) {
	if cfg.Hello.ID == "" || cfg.Hello.Incarnation == "" || cfg.Queue == nil || cfg.Registered == nil || cfg.Lost == nil {
		return nil, s4t.Errorf(s4t.Internal, "make the registration of an agent", "", "Hello, Queue, Registered and Lost are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Registration{cfg: cfg, renew: make(chan struct{}, 1), told: map[use]int64{}}, nil
}

// Run says hello until the conductor heard it, and then beats; what the
// conductor does not know it is told again. It returns nil when ctx ends, and
// an error of kind Conflict when another incarnation has taken the agent's
// place; the lease has ended then. It is called once, by a goroutine that does
// nothing else.
//
// A lease counts from before the request was sent that it answers, by the
// monotonic clock: this side never believes in it for longer than the
// conductor. A machine that was asleep finds out with its next beat.
func (r *Registration) Run(ctx context.Context) error {
	defer func() {
		if r.lease != nil {
			r.cancel()
		}
	}()
	var (
		backoff Backoff
		wait    time.Duration
		known   bool // to the conductor, as far as it said
	)
	for {
		if !r.until.IsZero() {
			wait = min(wait, time.Until(r.until))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.renew:
			known = false
		case <-time.After(wait):
		}
		if r.over() {
			r.cfg.Log.Warn("the conductor was not reached for the time of a lease; this agent serves nobody until it is")
			r.lose()
			known = false
		}
		sent := time.Now()
		lease, err := r.say(ctx, known)
		switch kind := s4t.KindOf(err); {
		case err == nil:
			backoff, known = Backoff{}, true
			wait, r.until = beatInterval, time.Time{}
			if lease > 0 {
				wait, r.until = min(beatInterval, lease/3), sent.Add(lease)
			}
			continue
		case ctx.Err() != nil:
			return nil
		case kind == s4t.Conflict:
			r.cfg.Log.Error("another agent has taken this one's place", "err", err)
			r.lose()
			return err
		case unknown(kind):
			known = false
		}
		wait = backoff.Next()
		backoff.Log(r.cfg.Log, "reach the conductor", err)
	}
}

// say says hello, or beats where the conductor knows the agent, and returns the
// lease that it answers.
func (r *Registration) say(ctx context.Context, known bool) (time.Duration, error) {
	deadline := time.Now().Add(callTimeout)
	if !r.until.IsZero() && r.until.Before(deadline) {
		deadline = r.until
	}
	callCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if known {
		var answer wire.AgentLease
		changed := r.changedUses()
		err := r.cfg.Queue.Call(callCtx, wire.TopicAgents, wire.MethodAgentBeat,
			wire.AgentBeat{ID: r.cfg.Hello.ID, Incarnation: r.cfg.Hello.Incarnation, Use: changed}, &answer)
		r.note(changed, err == nil)
		if err == nil && r.cfg.Leased != nil {
			r.cfg.Leased(answer)
		}
		return answer.Lease, err
	}
	var welcome wire.AgentWelcome
	if err := r.cfg.Queue.Call(callCtx, wire.TopicAgents, wire.MethodAgentHello, r.cfg.Hello, &welcome); err != nil {
		return 0, err
	}
	for key := range r.told { // it may have forgotten them
		r.told[key] = unsure
	}
	if r.over() { // it ended while the answer was on its way
		r.lose()
	}
	if r.lease != nil {
		return welcome.Lease, r.cfg.Registered(r.lease, welcome)
	}
	granted, cancel := context.WithCancel(ctx)
	if err := r.cfg.Registered(granted, welcome); err != nil {
		cancel()
		return 0, err
	}
	r.lease, r.cancel = granted, cancel
	return welcome.Lease, nil
}

// changedUses returns what is used otherwise than the conductor was told, at
// most a page of it: the next beat has the rest.
func (r *Registration) changedUses() (changed []wire.Use) {
	if r.cfg.Uses == nil {
		return nil
	}
	gone := maps.Clone(r.told)
	for _, u := range r.cfg.Uses() {
		key := use{u.Project, u.Key}
		delete(gone, key)
		if r.told[key] != u.Used && len(changed) < wire.MaxPage {
			changed = append(changed, u)
		}
	}
	for key := range gone {
		if len(changed) < wire.MaxPage {
			changed = append(changed, wire.Use{Project: key.project, Key: key.key})
		}
	}
	return changed
}

// unsure is how much of a quota the conductor was told to be used where it may
// not have heard it.
const unsure = -1

// note notes that the conductor was told of uses, and whether it has answered.
func (r *Registration) note(told []wire.Use, heard bool) {
	for _, u := range told {
		key := use{u.Project, u.Key}
		switch {
		case !heard:
			r.told[key] = unsure
		case u.Used == 0:
			delete(r.told, key)
		default:
			r.told[key] = u.Used
		}
	}
}

// over reports whether the lease has run out.
func (r *Registration) over() bool { return !r.until.IsZero() && !time.Now().Before(r.until) }

// lose ends the lease, and returns when the agent serves nobody any more.
func (r *Registration) lose() {
	r.until = time.Time{}
	if r.lease == nil {
		return
	}
	r.cancel()
	r.lease = nil
	r.cfg.Lost()
}

// Renew makes it say hello at once: somebody was told that the conductor does
// not know the agent. It does not wait.
func (r *Registration) Renew() {
	select {
	case r.renew <- struct{}{}:
	default:
	}
}

// unknown reports whether an answer of that kind means that the conductor may
// not know the agent.
func unknown(kind s4t.Kind) bool { return kind == s4t.Unavailable || kind == s4t.NotFound }

// Retry calls f, which asks or tells the conductor something in the name of
// the incarnation, until it succeeds. It returns the error of ctx when that ends
// before, and f's own where it is of kind Conflict: another incarnation has
// taken the agent's place.
func (r *Registration) Retry(ctx context.Context, what string, f func(context.Context) error) error {
	var backoff Backoff
	for {
		err := f(ctx)
		kind := s4t.KindOf(err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case kind == s4t.Conflict:
			return err
		case unknown(kind):
			r.Renew()
		}
		wait := backoff.Next()
		backoff.Log(r.cfg.Log, what, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
