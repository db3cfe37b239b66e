package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// UplinkCreate is the body of POST /v1/networks/{id}/uplink.
type UplinkCreate struct {
	Bridge string          `json:"bridge" minLength:"1" maxLength:"15" example:"br0" doc:"Name of a Linux bridge of the cloud host"`
	Guards *s4t.PortGuards `json:"guards,omitempty" doc:"allow_dhcp, allow_ra, the limits, and outward; any source may always come"`
}

// SetUplink puts a network into a Linux bridge of the cloud host.
func (c *Client) SetUplink(ctx context.Context, ref string, req UplinkCreate) (o s4t.Operation, err error) {
	return o, c.do(ctx, "uplink of network "+ref, "POST", path("networks", ref, "uplink"), req, &o)
}

// RemoveUplink takes it out again.
func (c *Client) RemoveUplink(ctx context.Context, ref string) (o s4t.Operation, err error) {
	return o, c.do(ctx, "remove uplink of network "+ref, "DELETE", path("networks", ref, "uplink"), nil, &o)
}
