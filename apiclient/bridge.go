package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// Step 1 of the paper's Fig. 3: the user asks. Step 10, the user is told, is in
// [Client.WaitOperation].

// CreateBridge puts boards on one network.
func (c *Client) CreateBridge(ctx context.Context, req BridgeCreate) (o s4t.Operation, err error) {
	return o, c.do(ctx, "create bridge "+req.Name, "POST", path("bridges"), req, &o)
}

// Bridges lists them.
func (c *Client) Bridges(ctx context.Context) ([]s4t.Bridge, error) { return c.BridgeList().All(ctx) }

// BridgeList is the list behind [Client.Bridges].
func (c *Client) BridgeList() List[s4t.Bridge] {
	return List[s4t.Bridge]{c, "list bridges", path("bridges")}
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
func (c *Client) Networks(ctx context.Context) ([]s4t.Network, error) {
	return c.NetworkList().All(ctx)
}

// NetworkList is the list behind [Client.Networks].
func (c *Client) NetworkList() List[s4t.Network] {
	return List[s4t.Network]{c, "list networks", path("networks")}
}

// Network by name or id.
func (c *Client) Network(ctx context.Context, ref string) (n s4t.Network, err error) {
	return n, c.do(ctx, "show network "+ref, "GET", path("networks", ref), nil, &n)
}

// Subnets lists them.
func (c *Client) Subnets(ctx context.Context) ([]s4t.Subnet, error) { return c.SubnetList().All(ctx) }

// SubnetList is the list behind [Client.Subnets].
func (c *Client) SubnetList() List[s4t.Subnet] {
	return List[s4t.Subnet]{c, "list subnets", path("subnets")}
}

// Subnet by id.
func (c *Client) Subnet(ctx context.Context, id string) (n s4t.Subnet, err error) {
	return n, c.do(ctx, "show subnet "+id, "GET", path("subnets", id), nil, &n)
}

// Ports lists them, without counters.
func (c *Client) Ports(ctx context.Context) ([]s4t.Port, error) { return c.PortList().All(ctx) }

// PortList is the list behind [Client.Ports].
func (c *Client) PortList() List[s4t.Port] {
	return List[s4t.Port]{c, "list ports", path("ports")}
}

// Port by id, with counters.
func (c *Client) Port(ctx context.Context, id string) (p s4t.Port, err error) {
	return p, c.do(ctx, "show port "+id, "GET", path("ports", id), nil, &p)
}
