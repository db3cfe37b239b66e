package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// FleetTokenCreate is the body of POST /v1/fleets/{fleet}/tokens.
type FleetTokenCreate struct {
	Count   int         `json:"count,omitempty" minimum:"0" maximum:"5000" doc:"Boards that may join with it; 100 by default"`
	Expires s4t.Seconds `json:"expires_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long it is good; a day by default"`
}

// CreateFleetToken makes a join string for many boards, which become members of the fleet.
func (c *Client) CreateFleetToken(ctx context.Context, fleet string, req FleetTokenCreate) (t s4t.FleetToken, err error) {
	return t, c.do(ctx, "create a token of fleet "+fleet, "POST", path("fleets", fleet, "tokens"), req, &t)
}

// FleetTokenList is the list of the tokens of a fleet, without their join strings.
func (c *Client) FleetTokenList(fleet string) List[s4t.FleetToken] {
	return List[s4t.FleetToken]{c, "list the tokens of fleet " + fleet, path("fleets", fleet, "tokens")}
}

// RevokeFleetToken ends a token; boards that joined with it stay.
func (c *Client) RevokeFleetToken(ctx context.Context, fleet, token string) error {
	return c.do(ctx, "revoke token "+token+" of fleet "+fleet, "DELETE", path("fleets", fleet, "tokens", token), nil, nil)
}
