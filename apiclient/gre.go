package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// GREAttach is the body of POST /v1/networks/{id}/gre and of .../gre/remove,
// where remote and key say which.
type GREAttach struct {
	Remote string          `json:"remote" minLength:"7" maxLength:"15" example:"192.0.2.7" doc:"Its IPv4 address"`
	Local  string          `json:"local,omitempty" maxLength:"15" doc:"IPv4 address of the cloud host; the one that the route to remote has by default"`
	Key    uint32          `json:"key,omitempty" doc:"GRE key, the same at both ends; the network's own by default"`
	Guards *s4t.PortGuards `json:"guards,omitempty" doc:"allow_dhcp, allow_ra and outward; any source may always come"`
}

// AttachGRE attaches a GRE endpoint of the data centre to a network.
func (c *Client) AttachGRE(ctx context.Context, ref string, req GREAttach) (o s4t.Operation, err error) {
	return o, c.do(ctx, "attach GRE endpoint "+req.Remote, "POST", path("networks", ref, "gre"), req, &o)
}

// DetachGRE takes it off again.
func (c *Client) DetachGRE(ctx context.Context, ref string, req GREAttach) (o s4t.Operation, err error) {
	return o, c.do(ctx, "detach GRE endpoint "+req.Remote, "POST", path("networks", ref, "gre", "remove"), req, &o)
}
