package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// uplinkRoutes put networks into Linux bridges of the cloud host.
func (a *API) uplinkRoutes() {
	register(a, guarded, "POST /v1/networks/{id}/uplink", "network.uplink", "Put a network into a Linux bridge",
		"Of the cloud host, so that virtual machines, containers and LANs there join the network. It replaces an uplink to another bridge. For admins.",
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"63" doc:"Name or id"`
			Body apiclient.UplinkCreate
		}) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodUplinkSet, wire.UplinkSet{Caller: callerOf(ctx), Ref: in.ID, Bridge: in.Body.Bridge, Guards: guards(in.Body.Guards), AllowLifted: in.Body.AllowLifted})
		})
	register(a, guarded, "DELETE /v1/networks/{id}/uplink", "network.uplink_remove", "Take a network out of its Linux bridge", "For admins.",
		func(ctx context.Context, in *objectRef) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodUplinkRemove, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		})
}
