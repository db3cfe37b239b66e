package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// Step 1 of the paper's Fig. 3: the user's request goes to the API.

// CreateBridge puts boards on one network.
func (c *Client) CreateBridge(ctx context.Context, req BridgeCreate) (o s4t.Operation, err error) {
	return o, c.do(ctx, "create bridge "+req.Name, "POST", path("bridges"), req, &o)
}

// Bridges lists them.
func (c *Client) Bridges(ctx context.Context) (l []s4t.Bridge, err error) {
	return l, c.do(ctx, "list bridges", "GET", path("bridges"), nil, &l)
}

// Bridge by name or id.
func (c *Client) Bridge(ctx context.Context, ref string) (b s4t.Bridge, err error) {
	return b, c.do(ctx, "show bridge "+ref, "GET", path("bridges", ref), nil, &b)
}

// DeleteBridge deletes a bridge with its network and ports.
func (c *Client) DeleteBridge(ctx context.Context, ref string) (o s4t.Operation, err error) {
	return o, c.do(ctx, "delete bridge "+ref, "DELETE", path("bridges", ref), nil, &o)
}

// AddToBridge adds boards.
func (c *Client) AddToBridge(ctx context.Context, ref string, req BridgeChange) (o s4t.Operation, err error) {
	return o, c.do(ctx, "add to bridge "+ref, "POST", path("bridges", ref, "boards"), req, &o)
}

// RemoveFromBridge removes boards.
func (c *Client) RemoveFromBridge(ctx context.Context, ref string, req BridgeChange) (o s4t.Operation, err error) {
	return o, c.do(ctx, "remove from bridge "+ref, "POST", path("bridges", ref, "boards", "remove"), req, &o)
}

// Networks lists them.
func (c *Client) Networks(ctx context.Context) (l []s4t.Network, err error) {
	return l, c.do(ctx, "list networks", "GET", path("networks"), nil, &l)
}

// Network by name or id.
func (c *Client) Network(ctx context.Context, ref string) (n s4t.Network, err error) {
	return n, c.do(ctx, "show network "+ref, "GET", path("networks", ref), nil, &n)
}

// Subnets lists them.
func (c *Client) Subnets(ctx context.Context) (l []s4t.Subnet, err error) {
	return l, c.do(ctx, "list subnets", "GET", path("subnets"), nil, &l)
}

// Subnet by id.
func (c *Client) Subnet(ctx context.Context, id string) (n s4t.Subnet, err error) {
	return n, c.do(ctx, "show subnet "+id, "GET", path("subnets", id), nil, &n)
}

// Ports lists them, without counters.
func (c *Client) Ports(ctx context.Context) (l []s4t.Port, err error) {
	return l, c.do(ctx, "list ports", "GET", path("ports"), nil, &l)
}

// Port by id, with counters.
func (c *Client) Port(ctx context.Context, id string) (p s4t.Port, err error) {
	return p, c.do(ctx, "show port "+id, "GET", path("ports", id), nil, &p)
}
