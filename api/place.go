package api

import (
	"context"
	"encoding/json"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// placeRoutes are where boards were, and a search that takes an area.
func (a *API) placeRoutes() {
	register(a, guarded, "GET /v1/boards/{board}/places", "board.places", "List where a board was", "Oldest first, the newest 100: each place that was said of it, and since when.",
		func(ctx context.Context, in *boardRef) (*listed[s4t.Place], error) {
			return whole[s4t.Place](ctx, a, wire.MethodBoardPlaces, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	register(a, guarded, "POST /v1/search/boards", "board.search_area", "Search boards to book, in an area", "As GET does, with an area of GeoJSON: a Polygon or MultiPolygon, or a Feature with one, of at most 256 KiB and 8,192 corners.",
		func(ctx context.Context, in *bodyOf[apiclient.AreaSearch]) (*listed[s4t.FoundBoard], error) {
			b := in.Body
			req := wire.BoardSearch{Caller: callerOf(ctx), Labels: b.Labels, Near: b.Near, Within: b.Within, Pin: b.Pin, From: b.From, For: b.For}
			if len(b.Area) > 0 {
				text, err := json.Marshal(b.Area)
				if err != nil {
					return nil, a.answer(ctx, "board.search_area", s4t.Errorf(s4t.Invalid, "search boards", "", "the area: %w", err))
				}
				req.Area = text
			}
			return whole[s4t.FoundBoard](ctx, a, wire.MethodBoardSearch, req)
		})
}
