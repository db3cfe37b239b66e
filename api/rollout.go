package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// rolloutRef is the input of a route about one rollout.
type rolloutRef struct {
	Rollout string `path:"rollout" maxLength:"63" doc:"Id"`
}

// rolloutRoutes bring plugins to the boards of fleets.
func (a *API) rolloutRoutes() {
	register(a, guarded, "POST /v1/fleets/{fleet}/rollouts", "rollout.create", "Roll a plugin out", "To the boards that the fleet has now, wave after wave; it stops by itself when too many fail.",
		func(ctx context.Context, in *struct {
			Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
			Body  apiclient.RolloutCreate
		}) (*output[s4t.Rollout], error) {
			b := in.Body
			req := wire.RolloutCreate{Caller: callerOf(ctx), Fleet: in.Fleet, Plugin: b.Plugin, Version: b.Version, Waves: b.Waves, MaxFailed: b.MaxFailed, Pause: b.Pause}
			return created(ctx, a, wire.MethodRolloutCreate, req, func(r s4t.Rollout) string { return "/v1/rollouts/" + string(r.ID) })
		})
	registerList[s4t.Rollout](a, "GET /v1/rollouts", "rollout.list", "List rollouts", "Without their boards, oldest first.", wire.MethodRolloutList)
	register(a, guarded, "GET /v1/rollouts/{rollout}", "rollout.show", "Show a rollout", "With its boards.",
		func(ctx context.Context, in *rolloutRef) (*answered[s4t.Rollout], error) {
			return get[s4t.Rollout](ctx, a, wire.MethodRolloutGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Rollout})
		})
	register(a, guarded, "POST /v1/rollouts/{rollout}/resume", "rollout.resume", "Resume a rollout", "One that stopped: what failed is tried again. One that is paused goes on at once.",
		func(ctx context.Context, in *rolloutRef) (*answered[s4t.Rollout], error) {
			return get[s4t.Rollout](ctx, a, wire.MethodRolloutResume, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Rollout})
		})
	register(a, guarded, "POST /v1/rollouts/{rollout}/abort", "rollout.abort", "Abort a rollout", "Nothing more is started. With back, boards that were changed get again the version that they had.",
		func(ctx context.Context, in *struct {
			Rollout string `path:"rollout" maxLength:"63" doc:"Id"`
			Body    apiclient.RolloutAbort
		}) (*answered[s4t.Rollout], error) {
			return get[s4t.Rollout](ctx, a, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: callerOf(ctx), Ref: in.Rollout, Back: in.Body.Back})
		})
}
