package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// commandManyRoutes run a command on many boards at once.
func (a *API) commandManyRoutes() {
	const what = "One result a board, in the order of their names: status and result, or error. A board that is away, or has no such command, is failed and hinders no other. " +
		"200: all have ended; 202: not yet, as those that have not say in their status, with the operation."
	results := &huma.Schema{Type: huma.TypeArray, Items: a.huma.OpenAPI().Components.Schemas.Schema(typeOf[apiclient.CommandResult](), true, "")}
	register(a, guarded, "POST /v1/fleets/{fleet}/commands/{command}", "fleet.run", "Run a command on a fleet", "On all boards that are members now. "+what,
		func(ctx context.Context, in *struct {
			CommandQuery
			Fleet   string `path:"fleet" maxLength:"63" doc:"Name or id"`
			Command string `path:"command" maxLength:"63" doc:"Name of the command"`
			Body    *commandParams
		}) (*huma.StreamResponse, error) {
			return a.runMany(ctx, &in.CommandQuery, in.Command, in.Body, in.Fleet, nil)
		}, a.ran(results, false))
	register(a, guarded, "POST /v1/commands/{command}", "command.run-many", "Run a command on several boards", what,
		func(ctx context.Context, in *struct {
			CommandQuery
			Command string   `path:"command" maxLength:"63" doc:"Name of the command"`
			Board   []string `query:"board,explode" required:"true" minItems:"1" maxItems:"250" doc:"Name or id; repeated for each"`
			Body    *commandParams
		}) (*huma.StreamResponse, error) {
			return a.runMany(ctx, &in.CommandQuery, in.Command, in.Body, "", in.Board)
		}, a.ran(results, false))
}

// runMany answers with a result a board.
func (a *API) runMany(ctx context.Context, in *CommandQuery, command string, params *commandParams, fleet string, boards []string) (*huma.StreamResponse, error) {
	req, err := in.request(ctx, command, params)
	if err != nil {
		return nil, a.answer(ctx, "command.fleet", err)
	}
	wait, applied := in.wait()
	req.Async = wait == 0
	got, err := call[wire.CommandResults](ctx, a, wire.MethodCommandFleet, wire.CommandFleet{CommandRun: req, Fleet: fleet, Boards: boards})
	if err != nil {
		return nil, err
	}
	if wait > wire.RunWait {
		a.followMany(ctx, got.Items, wait-wire.RunWait)
	}
	status := http.StatusOK
	results := make([]apiclient.CommandResult, len(got.Items))
	for i, op := range got.Items {
		if results[i] = apiclient.ResultOf(op); !op.Status.Ended() {
			status = http.StatusAccepted
		}
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/json")
		if applied != "" {
			hctx.SetHeader("Preference-Applied", applied)
		}
		hctx.SetStatus(status)
		json.NewEncoder(hctx.BodyWriter()).Encode(results)
	}}, nil
}

// followMany reads those of ops that have not ended and are not queued, when they
// move, until all have or the wait is over.
func (a *API) followMany(ctx context.Context, ops []s4t.Operation, wait time.Duration) {
	open := map[s4t.OperationID]int{}
	var ids []s4t.OperationID
	for i, op := range ops {
		if op.ID != "" && !op.Status.Ended() && op.Status != s4t.OperationQueued {
			open[op.ID] = i
			ids = append(ids, op.ID)
		}
	}
	if len(open) == 0 {
		return
	}
	place, err := a.watch(ctx)
	if err != nil {
		return // too many wait
	}
	defer a.watchers.leave(place)
	waiter, leave := a.waiters.add(ids...)
	defer leave()
	late := time.NewTimer(wait)
	defer late.Stop()
	look := time.NewTicker(rereadMany)
	defer look.Stop()
	moved := slices.Clone(ids) // what ended before it was waited for
	for {
		for _, id := range moved {
			i, ok := open[id]
			if !ok {
				continue
			}
			var op s4t.Operation
			if a.ask(ctx, wire.MethodOperationGet, wire.OperationGet{Caller: callerOf(ctx), ID: id}, &op) != nil {
				continue
			}
			if ops[i] = op; op.Status.Ended() {
				delete(open, id)
			}
		}
		if len(open) == 0 {
			return
		}
		moved = moved[:0]
		select {
		case <-waiter.news:
			for id := range a.waiters.take(waiter) {
				moved = append(moved, id)
			}
		case <-look.C:
			for id := range open {
				moved = append(moved, id)
			}
		case <-late.C:
			return
		case <-a.stopping:
			return
		case <-place.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// rereadMany is how often all are looked at where no news came: news may be lost.
const rereadMany = 5 * time.Second
