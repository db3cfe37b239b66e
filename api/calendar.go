package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// calendarType is the media type of iCalendar.
const calendarType = "text/calendar; charset=utf-8"

// calendarRoutes are calendars that other programs subscribe to. Those take an address and have no other
// way to say who they are: the token in it opens that calendar, and nothing else.
func (a *API) calendarRoutes() {
	register(a, guarded, "POST /v1/calendars", "calendar.create", "Make the address of a calendar", "For a program that shows calendars: of the bookings of a board, or of the project's leases. It opens that calendar to whoever has it, and nothing else.",
		func(ctx context.Context, in *bodyOf[apiclient.CalendarCreate]) (*answered[s4t.Calendar], error) {
			return get[s4t.Calendar](ctx, a, wire.MethodCalendarCreate, wire.CalendarCreate{Caller: callerOf(ctx), Board: in.Body.Board, Reset: in.Body.Reset})
		})
	text := func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {Description: "The calendar", Content: map[string]*huma.MediaType{"text/calendar": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	}
	register(a, public, "GET /v1/boards/{board}/calendar.ics", "board.calendar", "Read the calendar of a board's bookings", "As iCalendar (RFC 5545), from a month ago on.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Id"`
			Token string `query:"token" maxLength:"64" doc:"Of the address"`
		}) (*huma.StreamResponse, error) {
			return a.calendar(ctx, wire.CalendarRead{Token: in.Token, Board: in.Board})
		}, text)
	register(a, public, "GET /v1/leases.ics", "lease.calendar", "Read the calendar of a project's leases", "As iCalendar (RFC 5545), from a month ago on.",
		func(ctx context.Context, in *struct {
			Token string `query:"token" maxLength:"64" doc:"Of the address"`
		}) (*huma.StreamResponse, error) {
			return a.calendar(ctx, wire.CalendarRead{Token: in.Token})
		}, text)
}

// calendar sends a calendar.
func (a *API) calendar(ctx context.Context, req wire.CalendarRead) (*huma.StreamResponse, error) {
	got, err := call[wire.CalendarText](ctx, a, wire.MethodCalendarRead, req)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", calendarType)
		hctx.SetHeader("Cache-Control", "private, max-age=60")
		hctx.SetStatus(http.StatusOK)
		hctx.BodyWriter().Write([]byte(got.Text)) // whom it does not reach has left
	}}, nil
}
