package tunnelagent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// follow keeps the agent at its desired state: on every wake-up, and on a
// timer because a wake-up may be lost.
func (a *Agent) follow(ctx context.Context) {
	timer := time.NewTimer(fetchInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		a.mu.Lock()
		known := a.key != nil
		a.mu.Unlock()
		if !known { // before the hello the conductor knows of no such agent; it is woken after it
			continue
		}
		if !a.retry(ctx, "fetch the desired state", a.fetch) {
			return
		}
		select {
		case <-a.ready:
		default:
			close(a.ready)
		}
		timer.Reset(fetchInterval)
		a.mu.Lock()
		if len(a.problems) > 0 {
			timer.Reset(cureInterval)
		} else if len(a.uplinks()) > 0 {
			timer.Reset(uplinkInterval)
		}
		a.mu.Unlock()
	}
}

// fetch asks for the desired state and makes it so.
func (a *Agent) fetch(ctx context.Context) error {
	a.mu.Lock()
	a.begun++
	round := a.begun
	a.mu.Unlock()
	var d wire.TunnelDesired
	if err := a.cfg.Queue.Call(ctx, wire.TopicConductor, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: a.cfg.ID}, &d); err != nil {
		if s4t.KindOf(err) == s4t.NotFound {
			poke(a.hello)
		}
		return err
	}
	a.apply(d)
	a.mu.Lock()
	a.done = round
	close(a.applied)
	a.applied = make(chan struct{})
	a.mu.Unlock()
	poke(a.report)
	return nil
}

// refetch returns when a fetch that began after the call has been applied.
func (a *Agent) refetch(ctx context.Context) error {
	a.mu.Lock()
	want := a.begun + 1
	a.mu.Unlock()
	poke(a.wake)
	for {
		a.mu.Lock()
		done, applied := a.done, a.applied
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

// apply makes the agent have d and nothing else. Applying the same again
// changes nothing, except that what did not work is tried again.
func (a *Agent) apply(d wire.TunnelDesired) {
	a.turns.weigh(d.Weights)
	a.mu.Lock()
	problems := map[string]string{}
	ended := a.applyNetworks(d.Networks, problems)
	ended = append(ended, a.applyExposures(d.Exposures, problems)...)
	a.problems = problems
	a.generation = d.Generation
	ended = append(ended, a.applyBoards(d.Boards)...)
	a.mu.Unlock()
	a.end(ended)
}

// end calls all of ended side by side, and returns when they have returned, or
// after a moment: a peer that has stopped must not keep others from what is new.
func (a *Agent) end(ended []func()) {
	var left sync.WaitGroup
	for _, end := range ended {
		a.doors.Add(1)
		left.Go(func() {
			defer a.doors.Done()
			end()
		})
	}
	done := make(chan struct{})
	a.doors.Go(func() {
		left.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(endTimeout):
	}
}

// applyBoards closes the rtunnels for streams of boards that are not placed
// here. nil means that the conductor does not say.
func (a *Agent) applyBoards(boards []s4t.BoardID) (ended []func()) {
	if boards == nil {
		return nil
	}
	for _, b := range a.opener.Boards() {
		if !slices.Contains(boards, b) {
			ended = append(ended, func() { a.opener.Drop(b) })
		}
	}
	return ended
}
