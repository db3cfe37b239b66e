package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// maxWait is the longest wait of one long poll: shorter than the idle
	// limits of proxies.
	maxWait = time.Minute
	// reread is how often a long poll looks where no news came: news may be
	// lost.
	reread = time.Second
)

// waiters are those who wait for operations, by operation.
type waiters struct {
	mu    sync.Mutex // guards what follows, and moved of each; a leaf: nothing else is locked while it is held
	polls map[s4t.OperationID]map[*waiter]bool
}

// waiter is one who waits for some.
type waiter struct {
	news  chan struct{}            // cap 1
	moved map[s4t.OperationID]bool // since they were taken
}

// add returns what tells that one of the operations has something new to show,
// until leave is called.
func (w *waiters) add(ids ...s4t.OperationID) (one *waiter, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one = &waiter{make(chan struct{}, 1), map[s4t.OperationID]bool{}}
	for _, id := range ids {
		if w.polls[id] == nil {
			w.polls[id] = map[*waiter]bool{}
		}
		w.polls[id][one] = true
	}
	return one, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range ids {
			if delete(w.polls[id], one); len(w.polls[id]) == 0 {
				delete(w.polls, id)
			}
		}
	}
}

// take returns which have moved since it was asked last.
func (w *waiters) take(one *waiter) map[s4t.OperationID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := one.moved
	one.moved = map[s4t.OperationID]bool{}
	return moved
}

// wake tells those who wait for one of the operations.
func (w *waiters) wake(ids []s4t.OperationID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		for one := range w.polls[id] {
			one.moved[id] = true
			select {
			case one.news <- struct{}{}:
			default: // it was told before, and has not looked yet
			}
		}
	}
}

// operationAsk is the input of GET /v1/operations/{id}.
type operationAsk struct {
	ID    string `path:"id" maxLength:"63" doc:"Id"`
	Wait  string `query:"wait" maxLength:"32" example:"30s" doc:"Answer when the operation has ended or has more than so many steps, or after this time, at most 1m; sooner where too many wait"`
	Steps int    `query:"steps" minimum:"0" maximum:"1000" doc:"How many steps the caller has seen"`
}

// operationRoutes are the operations that record changes of desired state.
func (a *API) operationRoutes() {
	registerList[s4t.Operation](a, "GET /v1/operations", "operation.list", "List operations", "", wire.MethodOperationList)
	register(a, guarded, "GET /v1/operations/{id}", "operation.show", "Show an operation", "At once, or, with wait, when there is news.", a.showOperation)
}

func (a *API) showOperation(ctx context.Context, in *operationAsk) (*answered[s4t.Operation], error) {
	req := wire.OperationGet{Caller: callerOf(ctx), ID: s4t.OperationID(in.ID)}
	if in.Wait == "" {
		return get[s4t.Operation](ctx, a, wire.MethodOperationGet, req)
	}
	wait, err := duration("wait", in.Wait, 0, maxWait)
	if err != nil {
		return nil, a.answer(ctx, "operation.show", err)
	}
	out, err := a.follow(ctx, req, wait, func(op s4t.Operation) bool { return len(op.Steps) > in.Steps })
	if err == nil && out.Body.Status.Ended() && out.Body.Run == nil {
		out = a.tell(ctx, req, out)
	}
	return out, err
}

// follow reads an operation until it has ended or is enough, or the wait is over,
// too many wait, or the API stops.
func (a *API) follow(ctx context.Context, req wire.OperationGet, wait time.Duration, enough func(s4t.Operation) bool) (*answered[s4t.Operation], error) {
	waiter, leave := a.waiters.add(req.ID) // before it is looked at: what moves after that is told
	defer leave()
	var gone <-chan struct{}
	if place, err := a.watch(ctx); err == nil {
		defer a.watchers.leave(place)
		gone = place.gone
	} else {
		wait = 0 // too many wait
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		out, err := get[s4t.Operation](ctx, a, wire.MethodOperationGet, req)
		if err != nil || out.Body.Status.Ended() || enough(out.Body) || wait == 0 || a.stopped() {
			return out, err
		}
		select {
		case <-waiter.news:
		case <-time.After(reread):
		case <-late.C:
			return out, nil
		case <-a.stopping:
			return out, nil
		case <-gone:
			return out, nil
		case <-ctx.Done():
			return out, nil
		}
	}
}

// tell takes step 10 of the paper's Fig. 3, the user is told: the conductor
// writes it down, and the answer has it. Should that not work, the answer
// goes out without.
func (a *API) tell(ctx context.Context, req wire.OperationGet, out *answered[s4t.Operation]) *answered[s4t.Operation] {
	if slices.ContainsFunc(out.Body.Steps, func(s s4t.Step) bool { return s.Number == 10 }) {
		return out
	}
	ref := wire.RefRequest{Caller: req.Caller, Ref: string(req.ID)}
	if a.ask(ctx, wire.MethodOperationDone, ref, nil) != nil {
		return out
	}
	if again, err := get[s4t.Operation](ctx, a, wire.MethodOperationGet, req); err == nil {
		return again
	}
	return out
}
