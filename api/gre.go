package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// greChange is the input of attach and detach.
type greChange struct {
	ID   string `path:"id" maxLength:"63" doc:"Name or id"`
	Body apiclient.GREAttach
}

func (in *greChange) request(ctx context.Context) wire.NetworkGRE {
	b := in.Body
	return wire.NetworkGRE{Caller: callerOf(ctx), Ref: in.ID, Remote: b.Remote, Local: b.Local, Key: b.Key, Guards: guards(b.Guards), AllowLifted: b.AllowLifted}
}

// greRoutes attach GRE endpoints of the data centre to networks.
func (a *API) greRoutes() {
	register(a, guarded, "POST /v1/networks/{id}/gre", "network.attach_gre", "Attach a GRE endpoint to a network",
		"A gretap of a virtual machine, a router: it exchanges Ethernet in GRE in IPv4 with the cloud host. For admins.",
		func(ctx context.Context, in *greChange) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodAttachGRE, in.request(ctx))
		})
	register(a, guarded, "POST /v1/networks/{id}/gre/remove", "network.detach_gre", "Detach a GRE endpoint from a network", "For admins.",
		func(ctx context.Context, in *greChange) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodDetachGRE, in.request(ctx))
		})
}
