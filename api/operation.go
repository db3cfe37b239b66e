package api

import (
	"context"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// maxWait is the longest wait of one long poll: shorter than the idle limits
// of proxies.
const maxWait = time.Minute

// operationAsk is the input of GET /v1/operations/{id}.
type operationAsk struct {
	ID    string `path:"id" maxLength:"63" doc:"Id"`
	Wait  string `query:"wait" maxLength:"32" example:"30s" doc:"Answer when the operation has ended or has more than so many steps, or after this time, at most 1m"`
	Steps int    `query:"steps" minimum:"0" maximum:"1000" doc:"How many steps the caller has seen"`
}

// operationRoutes are the operations that record changes of desired state.
func (a *API) operationRoutes() {
	register(a, guarded, "GET /v1/operations", "operation.list", "List operations", "",
		func(ctx context.Context, _ *nothing) (*answered[[]s4t.Operation], error) {
			return list[s4t.Operation](ctx, a, wire.MethodOperationList, wire.CallerRequest{Caller: callerOf(ctx)})
		})
	register(a, guarded, "GET /v1/operations/{id}", "operation.show", "Show an operation", "At once, or, with wait, when there is news.", a.showOperation)
}

func (a *API) showOperation(ctx context.Context, in *operationAsk) (*answered[s4t.Operation], error) {
	req := wire.OperationGet{Caller: callerOf(ctx), ID: s4t.OperationID(in.ID)}
	if in.Wait == "" {
		return get[s4t.Operation](ctx, a, wire.MethodOperationGet, req)
	}
	wait, err := duration("wait", in.Wait, 0, maxWait)
	if err != nil {
		return nil, a.answer("operation.show", err)
	}
	select {
	case a.polls <- struct{}{}:
		defer func() { <-a.polls }()
	default:
		return nil, a.answer("operation.show", s4t.Errorf(s4t.TooMany, "wait for operation "+in.ID, "try again in a moment", "%d requests wait already", maxPolls))
	}
	req.Wait, req.Steps = wait, in.Steps
	ctx, cancel := context.WithTimeout(ctx, wait+queue.DefaultTimeout)
	defer cancel()
	out, err := get[s4t.Operation](ctx, a, wire.MethodOperationGet, req)
	if err != nil || out.Body.Status == s4t.OperationRunning {
		return out, err
	}
	return a.tell(ctx, req, out), nil
}

// tell takes step 10 of the paper's Fig. 3, the user is told: the conductor
// writes it down, and the answer has it. Should that not work, the answer
// goes out without.
func (a *API) tell(ctx context.Context, req wire.OperationGet, out *answered[s4t.Operation]) *answered[s4t.Operation] {
	if slices.ContainsFunc(out.Body.Steps, func(s s4t.Step) bool { return s.Number == 10 }) {
		return out
	}
	ref := wire.RefRequest{Caller: req.Caller, Ref: string(req.ID)}
	if a.queue.Call(ctx, wire.TopicConductor, wire.MethodOperationDone, ref, nil) != nil {
		return out
	}
	req.Wait, req.Steps = 0, 0
	if again, err := get[s4t.Operation](ctx, a, wire.MethodOperationGet, req); err == nil {
		return again
	}
	return out
}
