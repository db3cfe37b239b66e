package tunnelagent

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// desired is the state that the agent should have. Agent.mu guards it.
type desired struct {
	wanted     map[wire.ResourceKey]wire.Resource
	sum        wire.Sum // of wanted
	generation int64    // applied
	since      int64    // to ask for what is newer; 0: for all

	problems map[wire.ResourceKey]error         // why the last round that applied it failed
	due      map[wire.ResourceKey]time.Duration // to be applied again though it did not change: after how long at the latest

	begun   uint64        // fetches begun
	done    uint64        // the last that was applied; 0: none in this lease
	applied chan struct{} // closed when done changes, and replaced
}

func newDesired() desired {
	return desired{
		wanted:   map[wire.ResourceKey]wire.Resource{},
		problems: map[wire.ResourceKey]error{},
		due:      map[wire.ResourceKey]time.Duration{},
		applied:  make(chan struct{}),
	}
}

// answer is what came of all pages of one question.
type answer struct {
	whole      bool // what is not listed is not wanted
	resources  []wire.Resource
	generation int64
	sum        wire.Sum
}

// follow keeps the agent at its desired state: on every wake-up, and on a
// timer because a wake-up may be lost.
func (a *Agent) follow(ctx context.Context) error {
	timer := time.NewTimer(fetchInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-timer.C:
		}
		lease := a.held()
		if lease == nil { // the conductor knows of no such agent; we are woken after the hello
			continue
		}
		err := a.fetch(lease)
		switch {
		case ctx.Err() != nil:
			return nil
		case lease.Err() != nil:
			continue
		case err != nil:
			return err
		}
		select {
		case <-a.ready:
		default:
			close(a.ready)
		}
		timer.Reset(a.nextRound())
	}
}

// nextRound is when desired state is asked for again without a wake-up.
func (a *Agent) nextRound() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := fetchInterval
	for _, d := range a.desired.due {
		next = min(next, d)
	}
	return next
}

// fetch asks for what is new in desired state, for all of it where the sums
// differ, and makes it so.
func (a *Agent) fetch(lease context.Context) error {
	a.mu.Lock()
	a.desired.begun++
	number, since := a.desired.begun, a.desired.since
	a.mu.Unlock()
	asking := lease
	if cause := a.cause.Swap(nil); cause != nil {
		asking = queue.WithOrigin(lease, *cause)
	}
	d, err := a.ask(asking, since)
	if err == nil && !a.apply(lease, d, number) {
		a.cfg.Log.Info("the desired state is not the conductor's; all of it is asked for", "since", since, "generation", d.generation)
		if d, err = a.ask(asking, 0); err == nil {
			a.apply(lease, d, number)
		}
	}
	return err
}

// ask asks for what has changed since a generation, page by page.
func (a *Agent) ask(lease context.Context, since int64) (answer, error) {
	d := answer{whole: since == 0}
	anew := false // the conductor began anew on its own
	for after := ""; ; {
		var page wire.TunnelDesired
		err := a.registration.Retry(lease, "fetch the desired state", func(ctx context.Context) error {
			page = wire.TunnelDesired{}
			err := a.call(ctx, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: a.cfg.ID, Incarnation: a.incarnation, Since: since, After: after}, &page)
			if s4t.KindOf(err) == s4t.Invalid { // it does not know this page (any more)
				after, d.resources, anew = "", nil, false
			}
			return err
		})
		if err != nil {
			return d, err
		}
		if page.Whole && !anew {
			d.whole, d.resources, anew = true, nil, true
		}
		d.resources = append(d.resources, page.Resources...)
		d.generation, d.sum = page.Generation, page.Sum
		if page.Next == "" {
			return d, nil
		}
		after = page.Next
	}
}

// refetch returns when a fetch that began after the call has been applied.
func (a *Agent) refetch(ctx context.Context) error {
	a.mu.Lock()
	want := a.desired.begun + 1
	a.mu.Unlock()
	poke(a.wake)
	for {
		a.mu.Lock()
		done, applied := a.desired.done, a.desired.applied
		a.mu.Unlock()
		if done >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-applied:
		}
	}
}

// apply makes so what the answer to a fetch says, and tries again what is due.
// It returns false, and has done nothing, where differences do not lead to what
// the conductor has.
func (a *Agent) apply(lease context.Context, d answer, fetch uint64) bool {
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	if lease.Err() != nil {
		return true // what was asked for in a lease is not applied after it
	}
	a.mu.Lock()
	changed, sum := a.desired.changes(d)
	if sum != d.sum {
		if !d.whole {
			a.mu.Unlock()
			return false
		}
		a.cfg.Log.Warn("all of the desired state is not what its sum says; it is asked for again with the next round", "generation", d.generation)
	}
	a.desired.take(changed, sum)
	a.mu.Unlock()
	a.round(newRound(lease), changed)
	a.mu.Lock()
	a.desired.generation, a.desired.since = d.generation, d.generation
	if sum != d.sum {
		a.desired.since = 0
	}
	a.desired.done = fetch
	close(a.desired.applied)
	a.desired.applied = make(chan struct{})
	a.mu.Unlock()
	poke(a.reports.wake)
	return true
}

// clear ends all there is, and forgets what was desired.
func (a *Agent) clear(lease context.Context) {
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	a.mu.Lock()
	a.desired.generation, a.desired.since, a.desired.done = 0, 0, 0
	changed, sum := a.desired.changes(answer{whole: true})
	a.desired.take(changed, sum)
	a.mu.Unlock()
	a.round(newRound(lease), changed)
}

// changes returns what an answer changes, with the sum that comes of it. mu is
// held.
func (d *desired) changes(n answer) (changed map[wire.ResourceKey]wire.Resource, sum wire.Sum) {
	changed, sum = map[wire.ResourceKey]wire.Resource{}, d.sum
	newest := make(map[wire.ResourceKey]wire.Resource, len(n.resources))
	for _, r := range n.resources {
		newest[r.Key()] = r
	}
	if n.whole {
		for key := range d.wanted {
			if _, listed := newest[key]; !listed {
				newest[key] = wire.Resource{Kind: key.Kind, ID: key.ID, Gone: true}
			}
		}
	}
	for key, r := range newest {
		have, had := d.wanted[key]
		if r.Gone && !had || !r.Gone && had && bytes.Equal(have.Spec, r.Spec) {
			continue
		}
		if had {
			sum = sum.Sub(have.Sum())
		}
		if !r.Gone {
			sum = sum.Add(r.Sum())
		}
		changed[key] = r
	}
	return changed, sum
}

// take makes what has changed, and what is due, the work of a round. mu is
// held.
func (d *desired) take(changed map[wire.ResourceKey]wire.Resource, sum wire.Sum) {
	for key, r := range changed {
		if r.Gone {
			delete(d.wanted, key)
		} else {
			d.wanted[key] = r
		}
	}
	d.sum = sum
	for key := range d.due {
		if r, ok := d.wanted[key]; ok {
			changed[key] = r
		}
	}
	clear(d.due)
}

// round applies kind by kind what has changed. applyMu is held.
func (a *Agent) round(rd *round, changed map[wire.ResourceKey]wire.Resource) {
	work := map[wire.Kind][]wire.Resource{}
	for _, r := range changed {
		work[r.Kind] = append(work[r.Kind], r)
		if a.kind[r.Kind] == nil && !r.Gone {
			rd.failed[r.Key()] = s4t.Errorf(s4t.Unavailable, "apply "+string(r.Kind)+" "+r.ID, "bring conductor and tunnel agent to the same version", "this tunnel agent does not know the kind")
		}
	}
	for _, kind := range a.order {
		slices.SortFunc(work[kind], func(r, o wire.Resource) int {
			if r.Gone != o.Gone {
				if r.Gone {
					return -1
				}
				return 1
			}
			return strings.Compare(r.ID, o.ID)
		})
		if len(work[kind]) > 0 {
			a.kind[kind].apply(rd, work[kind])
		}
		for _, r := range a.stillWanted(rd.moved) {
			if _, has := changed[r.Key()]; !has {
				changed[r.Key()] = r
				work[r.Kind] = append(work[r.Kind], r)
			}
		}
		rd.moved = nil
	}
	a.mu.Lock()
	for key := range changed {
		delete(a.desired.problems, key)
		if err := rd.failed[key]; err != nil {
			a.desired.problems[key] = err
		}
	}
	for key, d := range rd.due {
		a.desired.due[key] = d
	}
	a.mu.Unlock()
	for key := range changed {
		a.reports.add(key)
	}
	a.end(rd.ended)
}

// stillWanted returns those of keys that desired state has.
func (a *Agent) stillWanted(keys []wire.ResourceKey) (wanted []wire.Resource) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keys {
		if r, ok := a.desired.wanted[key]; ok {
			wanted = append(wanted, r)
		}
	}
	return wanted
}

// again has a resource applied again that has ended by itself, and reported.
func (a *Agent) again(key wire.ResourceKey) {
	a.mu.Lock()
	a.desired.due[key] = cureInterval
	a.mu.Unlock()
	poke(a.wake)
	a.changed(key)
}

// end calls all of ended side by side, and returns when they have returned, or
// after a moment: a peer that has stopped must not keep others from what is new.
func (a *Agent) end(ended []func()) {
	if len(ended) == 0 {
		return
	}
	var left sync.WaitGroup
	for _, end := range ended {
		a.handlers.Add(1)
		left.Go(func() {
			defer a.handlers.Done()
			end()
		})
	}
	done := make(chan struct{})
	a.handlers.Go(func() {
		left.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(endTimeout):
	}
}
