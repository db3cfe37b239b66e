package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// offerRef is the input of a route about one offer.
type offerRef struct {
	Offer string `path:"offer" maxLength:"63" doc:"Name or id"`
}

// offerRoutes are what owners give of their boards.
func (a *API) offerRoutes() {
	registerList[s4t.Offer](a, "GET /v1/offers", "offer.list", "List offers", "Those that the project makes, and those that it may book by.", wire.MethodOfferList)
	register(a, guarded, "POST /v1/offers", "offer.create", "Offer boards", "To other projects, which book them by leases.",
		func(ctx context.Context, in *bodyOf[apiclient.OfferCreate]) (*output[s4t.Offer], error) {
			b := in.Body
			req := wire.OfferCreate{Caller: callerOf(ctx), Name: b.Name, Boards: b.Boards, Fleet: b.Fleet, Labels: b.Labels, To: b.To, Allow: b.Allow, Max: b.Max, Hours: b.Hours, Zone: b.Zone, Shared: b.Shared, MaxPriority: b.MaxPriority}
			return created(ctx, a, wire.MethodOfferCreate, req, func(o s4t.Offer) string { return "/v1/offers/" + string(o.ID) })
		})
	register(a, guarded, "GET /v1/offers/{offer}", "offer.show", "Show an offer", "With its boards now.",
		func(ctx context.Context, in *offerRef) (*answered[s4t.Offer], error) {
			return get[s4t.Offer](ctx, a, wire.MethodOfferGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Offer})
		})
	register(a, guarded, "DELETE /v1/offers/{offer}", "offer.delete", "Take an offer back", "Leases by it go on until their time is over, or they are taken back.",
		func(ctx context.Context, in *offerRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodOfferDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Offer})
		})
}
