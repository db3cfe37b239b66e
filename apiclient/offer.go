package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// OfferCreate is the body of POST /v1/offers.
type OfferCreate struct {
	Name        string            `json:"name" minLength:"1" maxLength:"63" doc:"Unique in the project"`
	Boards      []string          `json:"boards,omitempty" maxItems:"5000" doc:"Names or ids of boards of the project"`
	Fleet       string            `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	Labels      map[string]string `json:"labels,omitempty" doc:"Boards of the project that have all of them, when they are asked for"`
	To          []string          `json:"to,omitempty" maxItems:"200" doc:"Names or ids of projects that may book; every project by default"`
	Allow       []string          `json:"allow,omitempty" maxItems:"6" doc:"ssh, service, bridge, pins, commands, plugins; all by default"`
	Max         s4t.Seconds       `json:"max_seconds,omitempty" minimum:"0" doc:"How long one lease may be; a year by default"`
	Hours       string            `json:"hours,omitempty" maxLength:"255" doc:"When leases may be, as Mon-Fri 18:00-08:00; always by default"`
	Zone        string            `json:"zone,omitempty" maxLength:"63" doc:"Of hours, an IANA name; UTC by default"`
	Shared      bool              `json:"shared,omitempty" doc:"Leases of several projects stand side by side"`
	MaxPriority int               `json:"max_priority,omitempty" minimum:"0" maximum:"100" doc:"Of a lease"`
}

// CreateOffer offers boards of the project to others.
func (c *Client) CreateOffer(ctx context.Context, req OfferCreate) (o s4t.Offer, err error) {
	return o, c.do(ctx, "create offer "+req.Name, "POST", path("offers"), req, &o)
}

// OfferList is the list of offers that the project makes, and of those to it.
func (c *Client) OfferList() List[s4t.Offer] {
	return List[s4t.Offer]{c, "list offers", path("offers")}
}

// Offer by name or id.
func (c *Client) Offer(ctx context.Context, ref string) (o s4t.Offer, err error) {
	return o, c.do(ctx, "show offer "+ref, "GET", path("offers", ref), nil, &o)
}

// DeleteOffer takes an offer back; leases by it go on until their time is over.
func (c *Client) DeleteOffer(ctx context.Context, ref string) error {
	return c.do(ctx, "delete offer "+ref, "DELETE", path("offers", ref), nil, nil)
}
