package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// fleetTokenRoutes are the codes with which many boards join a fleet.
func (a *API) fleetTokenRoutes() {
	register(a, guarded, "POST /v1/fleets/{fleet}/tokens", "fleet.token_create", "Create a fleet token", "A join string for many boards: each becomes a board of the project, and a member of the fleet. It is shown once.",
		func(ctx context.Context, in *struct {
			Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
			Body  apiclient.FleetTokenCreate
		}) (*output[s4t.FleetToken], error) {
			req := wire.FleetTokenCreate{Caller: callerOf(ctx), Fleet: in.Fleet, Count: in.Body.Count, Expires: in.Body.Expires}
			return created(ctx, a, wire.MethodFleetTokenCreate, req, func(t s4t.FleetToken) string { return "/v1/fleets/" + string(t.Fleet) + "/tokens/" + string(t.ID) })
		})
	register(a, guarded, "GET /v1/fleets/{fleet}/tokens", "fleet.token_list", "List fleet tokens", "Without their join strings, oldest first.",
		func(ctx context.Context, in *struct {
			Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
			PageQuery
		}) (*listed[s4t.FleetToken], error) {
			return list[s4t.FleetToken](ctx, a, &in.PageQuery, wire.MethodFleetTokenList, wire.FleetTokenList{Caller: callerOf(ctx), Fleet: in.Fleet, Page: in.page()})
		})
	register(a, guarded, "DELETE /v1/fleets/{fleet}/tokens/{fleettoken}", "fleet.token_revoke", "Revoke a fleet token", "Boards that joined with it stay.",
		func(ctx context.Context, in *struct {
			Fleet string `path:"fleet" maxLength:"63" doc:"Name or id"`
			Token string `path:"fleettoken" maxLength:"63" doc:"Id"`
		}) (*nothing, error) {
			return drop(ctx, a, wire.MethodFleetTokenRevoke, wire.FleetTokenRevoke{Caller: callerOf(ctx), Fleet: in.Fleet, Token: s4t.TokenID(in.Token)})
		})
}
