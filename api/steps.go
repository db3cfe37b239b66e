package api

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

const (
	// stepQueue is how many steps wait for one who watches; one more is lost: the next
	// one's data has it too.
	stepQueue = 64
	// keptSteps bounds the operations whose last step is remembered.
	keptSteps = 4096
)

// stepHub tells those who watch of steps of operations, as they are taken. Steps are in
// the row of their operation and no events: they are told to who is there, once the
// conductor says that an operation moved.
type stepHub struct {
	queue Queue
	wake  chan struct{} // cap 1

	mu       sync.Mutex // guards what follows; a leaf
	watchers map[chan *told]bool
	moved    map[s4t.OperationID]bool
}

func newStepHub(q Queue) *stepHub {
	return &stepHub{queue: q, wake: make(chan struct{}, 1), watchers: map[chan *told]bool{}, moved: map[s4t.OperationID]bool{}}
}

// enter returns what gets steps, until leave is called.
func (h *stepHub) enter() (steps <-chan *told, leave func()) {
	c := make(chan *told, stepQueue)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, c)
	}
}

// heard notes that operations moved, where somebody watches.
func (h *stepHub) heard(ids []s4t.OperationID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) == 0 {
		return
	}
	for _, id := range ids {
		if len(h.moved) < keptSteps {
			h.moved[id] = true
		}
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take returns some that moved.
func (h *stepHub) take() (ids []s4t.OperationID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.moved {
		delete(h.moved, id)
		if ids = append(ids, id); len(ids) == wire.MaxOperationFeed {
			break
		}
	}
	return ids
}

// tell gives a step to all who watch; each looks whether it may see it.
func (h *stepHub) tell(t *told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.watchers {
		select {
		case c <- t:
		default:
		}
	}
}

// run reads operations that moved until ctx ends.
func (h *stepHub) run(ctx context.Context) {
	last := map[s4t.OperationID]int{} // how many steps were told, those of each board too
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		for ids := h.take(); len(ids) > 0 && ctx.Err() == nil; ids = h.take() {
			var l wire.List[s4t.Operation]
			if h.queue.Call(ctx, wire.TopicConductor, wire.MethodOperationFeed, wire.OperationFeed{IDs: ids}, &l) != nil {
				continue // who waits for an operation asks by itself
			}
			for _, op := range l.Items {
				taken := len(op.Steps)
				for _, l := range op.Lanes {
					taken += len(l.Steps)
				}
				if taken <= last[op.ID] && !op.Status.Ended() {
					continue
				}
				if last[op.ID] = taken; op.Status.Ended() || len(last) > keptSteps {
					delete(last, op.ID)
				}
				h.tell(toldStep(op))
			}
		}
	}
}

// toldStep is the newest step of an operation, with the operation, as it is told. What a
// command was given, and gave, is not in it: it may be long.
func toldStep(op s4t.Operation) *told {
	e := s4t.Event{At: time.Now().UTC(), Kind: apiclient.EventStep, Project: op.Project, Object: string(op.ID), Name: op.Kind}
	if n := len(op.Steps); n > 0 {
		e.At, e.Detail = op.Steps[n-1].At, op.Steps[n-1].Name
	}
	if op.Run != nil {
		run := *op.Run
		run.Params, run.Result = nil, nil
		op.Run, e.Board = &run, run.Board
	}
	e.Data = op
	return &told{project: op.Project, kind: e.Kind, text: eventText(e)}
}
