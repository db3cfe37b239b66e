package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// fleetRef is the input of a route about one fleet.
type fleetRef struct {
	Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
}

// fleetRoutes are sets of boards.
func (a *API) fleetRoutes() {
	registerList[s4t.Fleet](a, "GET /v1/fleets", "fleet.list", "List fleets", "", wire.MethodFleetList)
	register(a, guarded, "POST /v1/fleets", "fleet.create", "Create a fleet", "A set of boards: those named, and those that have all the labels and are at the place. Who is a member is found when the fleet is used.",
		func(ctx context.Context, in *bodyOf[apiclient.FleetCreate]) (*output[s4t.Fleet], error) {
			b := in.Body
			return created(ctx, a, wire.MethodFleetCreate, wire.FleetCreate{Caller: callerOf(ctx), Name: b.Name, Boards: b.Boards, Fleet: b.Fleet, Labels: b.Labels, Near: b.Near, Within: b.Within},
				func(f s4t.Fleet) string { return "/v1/fleets/" + string(f.ID) })
		})
	register(a, guarded, "GET /v1/fleets/{fleet}", "fleet.show", "Show a fleet", "With its members now.",
		func(ctx context.Context, in *fleetRef) (*answered[s4t.Fleet], error) {
			return get[s4t.Fleet](ctx, a, wire.MethodFleetGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Fleet})
		})
	register(a, guarded, "PATCH /v1/fleets/{fleet}", "fleet.update", "Update a fleet", "What is absent stays as it is.",
		func(ctx context.Context, in *struct {
			Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
			Body  apiclient.FleetUpdate
		}) (*answered[s4t.Fleet], error) {
			b := in.Body
			return get[s4t.Fleet](ctx, a, wire.MethodFleetUpdate, wire.FleetUpdate{
				Caller: callerOf(ctx), Ref: in.Fleet, Name: b.Name, Boards: b.Boards, Fleet: b.Fleet, Labels: b.Labels, Near: b.Near, Within: b.Within, Anywhere: b.Anywhere,
			})
		})
	register(a, guarded, "DELETE /v1/fleets/{fleet}", "fleet.delete", "Delete a fleet", "Its boards stay as they are.",
		func(ctx context.Context, in *fleetRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodFleetDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Fleet})
		})
}
