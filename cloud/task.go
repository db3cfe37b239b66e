package cloud

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
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
	for wait := minProbe; ctx.Err() == nil; wait = min(2*wait, maxProbe) {
		if c.askConductor(ctx) == nil {
			close(found)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// askConductor returns why a conductor does not answer, that of this process where there is one
// with a name. One that does reaches its database, and the queue is there.
func (c *Cloud) askConductor(ctx context.Context) error {
	topic := wire.TopicConductor
	if c.has(Conductor) && c.cfg.Name != "" {
		topic += "." + c.cfg.Name
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	// A token that nobody has: the conductor is there when it says so.
	err := c.cfg.Queue.Call(ctx, topic, wire.MethodVerify, wire.VerifyRequest{Secret: nobodys}, nil)
	if s4t.KindOf(err) == s4t.Unauthenticated {
		return nil
	}
	return err
}

// nobodys has the form of a token, so that it is looked for in the database.
var nobodys = wire.TokenPrefix + strings.Repeat("0", store.SecretLen-len(wire.TokenPrefix))

// readiness is what was found when the conductor was asked last: whoever wants to know
// costs it one question a second.
type readiness struct {
	mu  sync.Mutex // guards the fields below, and makes others wait for the answer
	at  time.Time
	err error
}

const readyFor = time.Second

// ready returns why this process cannot do its work, nil where it can.
func (c *Cloud) ready(ctx context.Context) error {
	c.readiness.mu.Lock()
	defer c.readiness.mu.Unlock()
	if time.Since(c.readiness.at) > readyFor {
		// Not the asker's context: its end would be told to those after it.
		c.readiness.err = c.askConductor(context.WithoutCancel(ctx))
		c.readiness.at = time.Now()
	}
	return c.readiness.err
}
