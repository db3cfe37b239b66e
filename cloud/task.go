package cloud

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// task is one part of a process.
type task struct {
	name  string
	run   func(context.Context) error // until ctx ends; then it returns nil
	ready <-chan struct{}             // closed when others may count on it; nil: at once
}

// start runs tasks; one that ends while ctx goes on is a failure. The channel is
// closed when all have ended.
func start(ctx context.Context, tasks []task, fail context.CancelCauseFunc) <-chan struct{} {
	var group sync.WaitGroup
	for _, t := range tasks {
		group.Go(func() {
			err := t.run(ctx)
			if err == nil {
				err = errors.New("it ended by itself")
			}
			if ctx.Err() == nil {
				fail(s4t.Errorf(s4t.Internal, "run the "+t.name, "", "%w", err))
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	return ended
}

const (
	// sayEvery is how often a start that takes long says what it waits for.
	sayEvery = 5 * time.Second
	// probeTimeout bounds one question whether the conductor is there.
	probeTimeout = 2 * time.Second
	// minProbe and maxProbe are between two of them.
	minProbe = 2 * time.Millisecond
	maxProbe = 250 * time.Millisecond
)

// await waits until the conductor answers and every task is ready. It has
// patience: one answer that is late or lost, of a conductor that has much to do
// after a restart, ends no start. It returns false when ctx ends before.
func (c *Cloud) await(ctx context.Context, tasks []task) bool {
	found := make(chan struct{})
	var probing sync.WaitGroup
	defer probing.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	probing.Go(func() { c.probe(ctx, found) })

	began := time.Now()
	say := time.NewTicker(sayEvery)
	defer say.Stop()
	for _, t := range append([]task{{name: "conductor", ready: found}}, tasks...) {
		for waiting := t.ready != nil; waiting; {
			select {
			case <-t.ready:
				waiting = false
			case <-ctx.Done():
				return false
			case <-say.C:
				c.cfg.Log.Warn("still starting", "waits_for", "the "+t.name, "since", time.Since(began).Round(time.Second))
			}
		}
	}
	return ctx.Err() == nil
}

// probe asks until the conductor answers, and closes found then: the one of this
// process where there is one with a name.
func (c *Cloud) probe(ctx context.Context, found chan<- struct{}) {
	topic := wire.TopicConductor
	if c.has(Conductor) && c.cfg.Name != "" {
		topic += "." + c.cfg.Name
	}
	for wait := minProbe; ctx.Err() == nil; wait = min(2*wait, maxProbe) {
		ask, cancel := context.WithTimeout(ctx, probeTimeout)
		// A token that cannot be: the conductor is there when it says so.
		err := c.cfg.Queue.Call(ask, topic, wire.MethodVerify, wire.VerifyRequest{}, nil)
		cancel()
		if s4t.KindOf(err) == s4t.Unauthenticated {
			close(found)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
