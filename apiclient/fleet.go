package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// FleetCreate is the body of POST /v1/fleets.
type FleetCreate struct {
	Name   string            `json:"name" minLength:"1" maxLength:"63" doc:"Unique in the project"`
	Boards []string          `json:"boards,omitempty" maxItems:"5000" doc:"Names or ids: members in any case"`
	Fleet  string            `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	Labels map[string]string `json:"labels,omitempty" doc:"Boards that have all of them are members"`
	Near   *s4t.Location     `json:"near,omitempty" doc:"Boards at most within_km from there are members; with labels, those that meet both"`
	Within float64           `json:"within_km,omitempty" minimum:"0" maximum:"20100" doc:"Kilometres, for near; 10 by default"`
}

// FleetUpdate is the body of PATCH /v1/fleets/{fleet}; what is absent stays.
type FleetUpdate struct {
	Name     *string            `json:"name,omitempty" minLength:"1" maxLength:"63" doc:"New name"`
	Boards   *[]string          `json:"boards,omitempty" maxItems:"5000" doc:"Who is named, all of them"`
	Fleet    string             `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	Labels   *map[string]string `json:"labels,omitempty" doc:"The new set, whole; empty: labels do not count"`
	Near     *s4t.Location      `json:"near,omitempty" doc:"New place"`
	Within   *float64           `json:"within_km,omitempty" minimum:"0" maximum:"20100" doc:"Kilometres from the place"`
	Anywhere bool               `json:"anywhere,omitempty" doc:"The place does not count any more"`
}

// CreateFleet makes a set of boards.
func (c *Client) CreateFleet(ctx context.Context, req FleetCreate) (f s4t.Fleet, err error) {
	return f, c.do(ctx, "create fleet "+req.Name, "POST", path("fleets"), req, &f)
}

// Fleets lists them with their members.
func (c *Client) Fleets(ctx context.Context) ([]s4t.Fleet, error) { return c.FleetList().All(ctx) }

// FleetList is the list behind [Client.Fleets].
func (c *Client) FleetList() List[s4t.Fleet] {
	return List[s4t.Fleet]{c, "list fleets", path("fleets")}
}

// Fleet by name or id, with its members now.
func (c *Client) Fleet(ctx context.Context, ref string) (f s4t.Fleet, err error) {
	return f, c.do(ctx, "show fleet "+ref, "GET", path("fleets", ref), nil, &f)
}

// UpdateFleet changes what is not nil.
func (c *Client) UpdateFleet(ctx context.Context, ref string, req FleetUpdate) (f s4t.Fleet, err error) {
	return f, c.do(ctx, "update fleet "+ref, "PATCH", path("fleets", ref), req, &f)
}

// DeleteFleet deletes a fleet; its boards stay.
func (c *Client) DeleteFleet(ctx context.Context, ref string) error {
	return c.do(ctx, "delete fleet "+ref, "DELETE", path("fleets", ref), nil, nil)
}
