package tunnelagent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t/wire"
)

// reports knows which states may be other than the conductor was told.
type reports struct {
	wake chan struct{} // there is something to report; capacity 1

	mu      sync.Mutex // guards the fields below
	pending map[wire.ResourceKey]struct{}
	remains bool // a report has to be made even if nothing has changed
}

func newReports() reports {
	return reports{wake: make(chan struct{}, 1), pending: map[wire.ResourceKey]struct{}{}}
}

// add notes that a state may be another. It is told with the next report that
// somebody wakes.
func (r *reports) add(key wire.ResourceKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[key] = struct{}{}
}

// remind has a report made even if nothing has changed: the conductor compares
// the sums then.
func (r *reports) remind() {
	r.mu.Lock()
	r.remains = true
	r.mu.Unlock()
	poke(r.wake)
}

// changed has the state of a resource reported, if it is another. It does not
// wait.
func (a *Agent) changed(key wire.ResourceKey) {
	a.reports.add(key)
	poke(a.reports.wake)
}

// ledger is what the conductor was told. The goroutine that reports owns it.
type ledger struct {
	seq        int64
	generation int64
	states     map[wire.ResourceKey]entry
	sum        wire.Sum // of what it answered to
	whole      bool     // it wants all states
}

// entry is what the conductor was told of one resource, and has answered to.
type entry struct {
	state  wire.ResourceState
	unsure bool // it was told something else since, and may not have heard it
}

// set notes what it was told of a resource, and has answered to.
func (l *ledger) set(s wire.ResourceState) {
	key := s.Key()
	l.sum = l.sum.Sub(l.states[key].state.Sum()).Add(s.Sum())
	if s.Sum() == 0 {
		delete(l.states, key)
		return
	}
	l.states[key] = entry{state: s}
}

// tellStates reports what the agent has (step 8 of the paper's Fig. 3) whenever
// that changes, the changes of a moment together, and on a timer so that the
// sums are compared.
func (a *Agent) tellStates(ctx context.Context) error {
	l := &ledger{states: map[wire.ResourceKey]entry{}}
	remind := time.NewTicker(fetchInterval)
	defer remind.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-remind.C:
			a.reports.remind()
			continue
		case <-a.reports.wake:
		}
		lease := a.held()
		if lease == nil || a.fresh() { // before that we would report the loss of all there was
			continue
		}
		gap, err := a.tell(lease, l)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && lease.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gap):
		}
	}
}

// fresh reports whether no desired state was applied yet in this lease.
func (a *Agent) fresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.desired.done == 0
}

// tell tells the conductor what it does not know. It returns after how long it
// may be called again.
func (a *Agent) tell(lease context.Context, l *ledger) (gap time.Duration, err error) {
	a.reports.mu.Lock()
	must := a.reports.remains
	a.reports.remains = false
	a.reports.mu.Unlock()
	for more := true; more && !l.whole; {
		more, err = a.tellChanges(lease, l, must)
		if err != nil {
			a.reports.remind()
			return reportGap, err
		}
		must = more // who was promised another one gets it
	}
	if !l.whole {
		return reportGap, nil
	}
	if err := a.tellAll(lease, l); err != nil {
		a.reports.remind()
		return reportGap, err
	}
	if l.whole {
		a.cfg.Log.Warn("the conductor asks for all states again though it was just told them")
		a.reports.remind()
		return cureInterval, nil
	}
	return reportGap, nil
}

// tellChanges makes one report of what has changed. It makes none if nothing
// has, unless it must.
func (a *Agent) tellChanges(lease context.Context, l *ledger, must bool) (more bool, err error) {
	err = a.registration.Retry(lease, "report to the conductor", func(ctx context.Context) error {
		r := wire.TunnelReport{Generation: a.generation(), Sum: l.sum}
		r.States, more = a.changes(l)
		if len(r.States) == 0 && !must && r.Generation == l.generation {
			return nil
		}
		r.More = more
		for _, s := range r.States {
			r.Sum = r.Sum.Sub(l.states[s.Key()].state.Sum()).Add(s.Sum())
		}
		whole, err := a.send(ctx, l, r)
		for _, s := range r.States {
			if err == nil {
				l.set(s)
				continue
			}
			e := l.states[s.Key()]
			e.unsure = true
			l.states[s.Key()] = e
			a.reports.add(s.Key())
		}
		if err == nil {
			l.whole = l.whole || whole
		}
		return err
	})
	return more, err
}

// changes takes at most a page of pending states that are not what the
// conductor was told, and reports whether there are more.
func (a *Agent) changes(l *ledger) (states []wire.ResourceState, more bool) {
	states = []wire.ResourceState{}
	for more = true; more && len(states) < wire.MaxPage; {
		var keys []wire.ResourceKey
		keys, more = a.reports.take(wire.MaxPage - len(states))
		for _, key := range keys {
			s := a.state(key)
			if e := l.states[key]; e.unsure || s.Sum() != e.state.Sum() {
				states = append(states, s)
			}
		}
	}
	slices.SortFunc(states, func(s, o wire.ResourceState) int { return s.Key().Compare(o.Key()) })
	return states, more
}

// take returns at most n of what is pending and forgets them, and reports
// whether there is more.
func (r *reports) take(n int) (keys []wire.ResourceKey, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.pending {
		if len(keys) == n {
			return keys, true
		}
		keys = append(keys, key)
		delete(r.pending, key)
	}
	return keys, false
}

// tellAll tells all states, range by range.
func (a *Agent) tellAll(lease context.Context, l *ledger) error {
	keys := a.wantedKeys()
	told := ledger{states: map[wire.ResourceKey]entry{}}
	var after wire.ResourceKey
	for last := false; !last; {
		var states []wire.ResourceState
		n := 0
		err := a.registration.Retry(lease, "report all states to the conductor", func(ctx context.Context) error {
			r := wire.TunnelReport{Generation: a.generation(), Range: &wire.KeyRange{After: after}}
			states, n = []wire.ResourceState{}, 0
			for ; n < len(keys) && len(states) < wire.MaxPage; n++ {
				if s := a.state(keys[n]); s.Sum() != 0 {
					states = append(states, s)
				}
			}
			if last = n == len(keys); !last {
				r.Range.UpTo = keys[n-1]
			}
			r.States, r.More, r.Sum = states, !last, told.sum
			for _, s := range states {
				r.Sum = r.Sum.Add(s.Sum())
			}
			whole, err := a.send(ctx, l, r)
			if err == nil {
				l.whole = whole || !last // it has all only after the last
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range states {
			told.set(s)
		}
		if !last {
			after = keys[n-1]
			keys = keys[n:]
		}
	}
	l.states, l.sum = told.states, told.sum
	return nil
}

// send makes one report, and returns whether the conductor wants all states.
func (a *Agent) send(ctx context.Context, l *ledger, r wire.TunnelReport) (whole bool, err error) {
	l.seq++
	r.Agent, r.Incarnation, r.Seq = a.cfg.ID, a.incarnation, l.seq
	var reported wire.TunnelReported
	if err := a.call(ctx, wire.MethodTunnelReport, r, &reported); err != nil {
		return false, err
	}
	l.generation = r.Generation
	return reported.Whole, nil
}

// generation is the one that was applied last.
func (a *Agent) generation() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.desired.generation
}

// state is what the agent has to say of a resource now.
func (a *Agent) state(key wire.ResourceKey) wire.ResourceState {
	s := wire.ResourceState{Kind: key.Kind, ID: key.ID}
	a.mu.Lock()
	_, wanted := a.desired.wanted[key]
	problem := a.desired.problems[key]
	a.mu.Unlock()
	if !wanted {
		return s
	}
	if r := a.kind[key.Kind]; r != nil {
		up, own := r.state(key.ID)
		s.Up = up
		if own != nil {
			problem = own
		}
	}
	sayProblem(&s, problem)
	return s
}

// wantedKeys returns the keys of all that is wanted, in order.
func (a *Agent) wantedKeys() []wire.ResourceKey {
	a.mu.Lock()
	keys := make([]wire.ResourceKey, 0, len(a.desired.wanted))
	for key := range a.desired.wanted {
		keys = append(keys, key)
	}
	a.mu.Unlock()
	slices.SortFunc(keys, wire.ResourceKey.Compare)
	return keys
}
