package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// Step 2 of the paper's Fig. 3: the API puts the request on the queue.

// bridgeRef is the input of a route about one bridge.
type bridgeRef struct {
	Bridge string `path:"bridge" maxLength:"63" doc:"Name or id"`
}

// bridgeChange is the input of add and remove.
type bridgeChange struct {
	Bridge string `path:"bridge" maxLength:"63" doc:"Name or id"`
	Body   apiclient.BridgeChange
}

func (in *bridgeChange) request(ctx context.Context) wire.BridgeChange {
	return wire.BridgeChange{Caller: callerOf(ctx), Ref: in.Bridge, Boards: in.Body.Boards, Fleet: in.Body.Fleet, Guards: guards(in.Body.Guards), RequireOnline: in.Body.RequireOnline}
}

// guards are all on where the request says nothing.
func guards(g *s4t.PortGuards) s4t.PortGuards {
	if g == nil {
		return s4t.PortGuards{}
	}
	return *g
}

// objectRef is the input of a route about one network, subnet or port.
type objectRef struct {
	ID string `path:"id" maxLength:"63" doc:"Id; of a network also its name"`
}

// bridgeRoutes are bridges, and what is underneath: networks, subnets and
// ports.
func (a *API) bridgeRoutes() {
	registerList[s4t.Bridge](a, "GET /v1/bridges", "bridge.list", "List bridges", "", wire.MethodBridgeList)
	register(a, guarded, "POST /v1/bridges", "bridge.create", "Create a bridge", "Puts boards on one virtual network. The operation ends when the ports of all online boards are up.",
		func(ctx context.Context, in *bodyOf[apiclient.BridgeCreate]) (*output[s4t.Operation], error) {
			b := in.Body
			return accepted(ctx, a, wire.MethodBridgeCreate, wire.BridgeCreate{
				Caller: callerOf(ctx), Name: b.Name, Boards: b.Boards, Fleet: b.Fleet, CIDR: b.CIDR, CIDR6: b.CIDR6, Layer: b.Layer,
				Encapsulation: b.Encapsulation, MTU: b.MTU, Guards: guards(b.Guards), RequireOnline: b.RequireOnline,
				AllowPublicCIDR: b.AllowPublicCIDR,
			})
		})
	register(a, guarded, "GET /v1/bridges/{bridge}", "bridge.show", "Show a bridge", "",
		func(ctx context.Context, in *bridgeRef) (*answered[s4t.Bridge], error) {
			return get[s4t.Bridge](ctx, a, wire.MethodBridgeGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Bridge})
		})
	register(a, guarded, "DELETE /v1/bridges/{bridge}", "bridge.delete", "Delete a bridge", "With its network and ports.",
		func(ctx context.Context, in *bridgeRef) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodBridgeDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Bridge})
		})
	register(a, guarded, "POST /v1/bridges/{bridge}/boards", "bridge.add", "Add boards to a bridge", "The others notice nothing.",
		func(ctx context.Context, in *bridgeChange) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodBridgeAdd, in.request(ctx))
		})
	register(a, guarded, "POST /v1/bridges/{bridge}/boards/remove", "bridge.remove", "Remove boards from a bridge", "The others notice nothing.",
		func(ctx context.Context, in *bridgeChange) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodBridgeRemove, in.request(ctx))
		})

	registerList[s4t.Network](a, "GET /v1/networks", "network.list", "List networks", "", wire.MethodNetworkList)
	register(a, guarded, "GET /v1/networks/{id}", "network.show", "Show a network", "",
		func(ctx context.Context, in *objectRef) (*answered[s4t.Network], error) {
			return get[s4t.Network](ctx, a, wire.MethodNetworkGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		})
	register(a, guarded, "GET /v1/networks/{id}/ports", "network.ports", "List the ports of a network", "All of them, in one page, with counters, where the tunnel agents answer.",
		func(ctx context.Context, in *objectRef) (*listed[s4t.Port], error) {
			return list[s4t.Port](ctx, a, &PageQuery{}, wire.MethodNetworkPorts, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		})
	registerList[s4t.Subnet](a, "GET /v1/subnets", "subnet.list", "List subnets", "", wire.MethodSubnetList)
	register(a, guarded, "GET /v1/subnets/{id}", "subnet.show", "Show a subnet", "",
		func(ctx context.Context, in *objectRef) (*answered[s4t.Subnet], error) {
			return get[s4t.Subnet](ctx, a, wire.MethodSubnetGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		})
	registerList[s4t.Port](a, "GET /v1/ports", "port.list", "List ports", "Without counters.", wire.MethodPortList)
	register(a, guarded, "GET /v1/ports/{id}", "port.show", "Show a port", "With counters, where the tunnel agent answers.",
		func(ctx context.Context, in *objectRef) (*answered[s4t.Port], error) {
			return get[s4t.Port](ctx, a, wire.MethodPortGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		})
}
