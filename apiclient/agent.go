package apiclient

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Agents lists the cloud's agents, for admins.
func (c *Client) Agents(ctx context.Context) ([]s4t.Agent, error) { return c.AgentList().All(ctx) }

// AgentList is the list behind [Client.Agents].
func (c *Client) AgentList() List[s4t.Agent] {
	return List[s4t.Agent]{c, "list agents", path("agents")}
}

// Agent shows one, for admins.
func (c *Client) Agent(ctx context.Context, id string) (a s4t.Agent, err error) {
	return a, c.do(ctx, "show agent "+id, "GET", path("agents", id), nil, &a)
}

// DrainAgent has an agent give up what it has. [Client.WaitDrained] waits until it
// has nothing any more.
func (c *Client) DrainAgent(ctx context.Context, id string) (a s4t.Agent, err error) {
	return a, c.do(ctx, "drain agent "+id, "PUT", path("agents", id, "drain"), nil, &a)
}

// UndrainAgent lets it take what is new again.
func (c *Client) UndrainAgent(ctx context.Context, id string) (a s4t.Agent, err error) {
	return a, c.do(ctx, "undrain agent "+id, "DELETE", path("agents", id, "drain"), nil, &a)
}

// WaitDrained waits until a drained agent has nothing any more. progress, if it is
// not nil, is called with the agent now and then. Where what is left does not move,
// it is Conflict.
func (c *Client) WaitDrained(ctx context.Context, id string, progress func(s4t.Agent)) (s4t.Agent, error) {
	op := "wait until agent " + id + " is drained"
	for {
		a, err := c.Agent(ctx, id)
		switch {
		case ctx.Err() != nil:
			return a, s4t.Errorf(s4t.Timeout, op, fmt.Sprintf("`s4t agent show %s` says what is left; or give --timeout", id), "it is not empty yet")
		case err != nil && s4t.KindOf(err) != s4t.Unavailable, err == nil && a.Status == s4t.AgentDrained:
			return a, err
		case err == nil && a.Status == s4t.AgentOnline:
			return a, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("`s4t agent drain %s`", id), "it takes what is new again")
		case err == nil && a.Fixed > 0 && a.Boards == 0 && a.Networks == a.Fixed && a.Services == 0:
			return a, s4t.Errorf(s4t.Conflict, op, "remove their uplinks and GRE endpoints, or leave them there", "%d networks do not move: they have an uplink or a GRE endpoint on its host", a.Fixed)
		case err == nil && progress != nil:
			progress(a)
		}
		pause(ctx, time.Second)
	}
}
