package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// agentRef is the input of a route about one agent.
type agentRef struct {
	Agent string `path:"agent" maxLength:"63" doc:"Id"`
}

// agentRoutes are the agents of the cloud, for admins.
func (a *API) agentRoutes() {
	registerList[s4t.Agent](a, "GET /v1/agents", "agent.list", "List agents", "Of both roles, all in one page. For admins.", wire.MethodAgentsList)
	register(a, guarded, "GET /v1/agents/{agent}", "agent.show", "Show an agent", "For admins.",
		func(ctx context.Context, in *agentRef) (*answered[s4t.Agent], error) {
			return get[s4t.Agent](ctx, a, wire.MethodAgentsGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Agent})
		})
	register(a, guarded, "PUT /v1/agents/{agent}/drain", "agent.drain", "Drain an agent", "It takes nothing new, and what it has moves to others, without a gap; the event agent.drained says when it is empty. For admins.",
		func(ctx context.Context, in *agentRef) (*answered[s4t.Agent], error) {
			return get[s4t.Agent](ctx, a, wire.MethodAgentsDrain, wire.AgentDrain{Caller: callerOf(ctx), Ref: in.Agent, Drain: true})
		})
	register(a, guarded, "DELETE /v1/agents/{agent}/drain", "agent.undrain", "Let a drained agent take what is new", "What has moved stays where it is. For admins.",
		func(ctx context.Context, in *agentRef) (*answered[s4t.Agent], error) {
			return get[s4t.Agent](ctx, a, wire.MethodAgentsDrain, wire.AgentDrain{Caller: callerOf(ctx), Ref: in.Agent})
		})
}
