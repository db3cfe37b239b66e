package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// leaseRef is the input of a route about one lease.
type leaseRef struct {
	Lease string `path:"lease" maxLength:"63" doc:"Name of one of the project's that is not over, or id"`
}

// searchQuery is the input of the search for boards.
type searchQuery struct {
	Label    []string    `query:"label,explode" maxItems:"64" doc:"K=V; repeated: boards with all of them"`
	Fleet    string      `query:"fleet" maxLength:"63" doc:"Name or id: boards of this fleet"`
	Near     string      `query:"near" maxLength:"64" doc:"LAT,LON in degrees: boards at most within_km from there, the nearest first"`
	Within   float64     `query:"within_km" minimum:"0" maximum:"20100" doc:"Kilometres, for near; 10 by default"`
	Pin      string      `query:"pin" maxLength:"189" doc:"Boards with a pin whose name or label is like that, as gpio/*/17"`
	FreeFrom time.Time   `query:"free_from" doc:"Boards that are free from then on"`
	FreeFor  s4t.Seconds `query:"free_for_seconds" minimum:"0" doc:"Free for so long; two hours by default"`
}

// bookingQuery is the input of the calendars of boards.
type bookingQuery struct {
	PageQuery
	From  time.Time `query:"from" doc:"Now by default"`
	Until time.Time `query:"until" doc:"A week after that by default, 93 days at most"`
	Label []string  `query:"label,explode" maxItems:"64" doc:"K=V; repeated: boards with all of them"`
}

// leaseRoutes are bookings of boards, and who may do what by them.
func (a *API) leaseRoutes() {
	register(a, guarded, "GET /v1/bookings", "booking.list", "Show the calendars of boards",
		"Of the boards that the project owns, may book, or has booked: what is taken in a time, and when they may be booked. Of a lease that the project does not see, only when that is.", a.listBookings)
	registerList[s4t.Lease](a, "GET /v1/leases", "lease.list", "List leases", "Those that the project has, and those of its boards.", wire.MethodLeaseList)
	register(a, guarded, "POST /v1/leases", "lease.create", "Book boards", "By name, or so many that fit best, all or nothing, now or later. Booked boards are an error that says when they are free.",
		func(ctx context.Context, in *bodyOf[apiclient.LeaseCreate]) (*output[s4t.Lease], error) {
			b := in.Body
			req := wire.LeaseCreate{Caller: callerOf(ctx), Name: b.Name, Boards: b.Boards, Fleet: b.Fleet, Labels: b.Labels, Count: b.Count, Near: b.Near, Within: b.Within, Pin: b.Pin, From: b.From, For: b.For, Priority: b.Priority, Allow: b.Allow, Partial: b.Partial}
			return created(ctx, a, wire.MethodLeaseCreate, req, placeOfLease)
		})
	register(a, guarded, "GET /v1/leases/{lease}", "lease.show", "Show a lease", "",
		func(ctx context.Context, in *leaseRef) (*answered[s4t.Lease], error) {
			return get[s4t.Lease](ctx, a, wire.MethodLeaseGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Lease})
		})
	register(a, guarded, "PATCH /v1/leases/{lease}", "lease.extend", "Extend a lease", "Where its boards are free and their offers still stand.",
		func(ctx context.Context, in *struct {
			Lease string `path:"lease" maxLength:"63" doc:"Name or id"`
			Body  apiclient.LeaseExtend
		}) (*answered[s4t.Lease], error) {
			return get[s4t.Lease](ctx, a, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: callerOf(ctx), Ref: in.Lease, For: in.Body.For})
		})
	register(a, guarded, "DELETE /v1/leases/{lease}", "lease.release", "Give boards back", "What was made by the lease goes, with its shares. A manager of who lent the boards takes them back so, by the lease's id.",
		func(ctx context.Context, in *leaseRef) (*answered[s4t.Lease], error) {
			return get[s4t.Lease](ctx, a, wire.MethodLeaseRelease, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Lease})
		})
	register(a, guarded, "POST /v1/leases/{lease}/shares", "lease.share", "Share a lease", "Passes on a part of it to another project, never more than it is. It ends with the lease.",
		func(ctx context.Context, in *struct {
			Lease string `path:"lease" maxLength:"63" doc:"Name or id"`
			Body  apiclient.LeaseShare
		}) (*output[s4t.Lease], error) {
			b := in.Body
			return created(ctx, a, wire.MethodLeaseShare, wire.LeaseShare{Caller: callerOf(ctx), Ref: in.Lease, Name: b.Name, To: b.To, Boards: b.Boards, Allow: b.Allow, Until: b.Until}, placeOfLease)
		})
	register(a, guarded, "GET /v1/boards/{board}/access", "board.access", "Show who can use a board", "Its owner and who has a lease of it now, with what each may do.",
		func(ctx context.Context, in *struct {
			Board  string `path:"board" maxLength:"63" doc:"Name or id"`
			Action string `query:"action" maxLength:"63" doc:"Who may do this: ssh, service, bridge, pins, commands or plugins"`
		}) (*listed[s4t.Access], error) {
			return whole[s4t.Access](ctx, a, wire.MethodWhoCan, wire.WhoCan{Caller: callerOf(ctx), Board: in.Board, Action: in.Action})
		})
	register(a, guarded, "GET /v1/search/boards", "board.search", "Search boards to book", "The project's own, and those that are offered to it, with when they are free next.",
		func(ctx context.Context, in *searchQuery) (*listed[s4t.FoundBoard], error) {
			const op = "search boards"
			req := wire.BoardSearch{Caller: callerOf(ctx), Fleet: in.Fleet, Within: in.Within, Pin: in.Pin, For: in.FreeFor}
			var possible bool
			var err error
			if req.Labels, possible, err = parseLabels(op, in.Label); err == nil && in.Near != "" {
				req.Near, err = parseNear(op, in.Near)
			}
			if err != nil {
				return nil, a.answer(ctx, "board.search", err)
			}
			if !possible {
				return &listed[s4t.FoundBoard]{}, nil
			}
			if !in.FreeFrom.IsZero() {
				req.From = &in.FreeFrom
			}
			return whole[s4t.FoundBoard](ctx, a, wire.MethodBoardSearch, req)
		})
	a.placeRoutes()
}

func (a *API) listBookings(ctx context.Context, in *bookingQuery) (*listed[s4t.BoardCalendar], error) {
	labels, possible, err := parseLabels("list bookings", in.Label)
	if err != nil {
		return nil, a.answer(ctx, "booking.list", err)
	}
	if !possible {
		return &listed[s4t.BoardCalendar]{}, nil
	}
	req := wire.BookingList{Caller: callerOf(ctx), Labels: labels, Page: in.page()}
	if !in.From.IsZero() {
		req.From = &in.From
	}
	if !in.Until.IsZero() {
		req.Until = &in.Until
	}
	return list[s4t.BoardCalendar](ctx, a, &in.PageQuery, wire.MethodBookingList, req)
}

// whole calls a method whose list has one page.
func whole[T any](ctx context.Context, a *API, method string, req any) (*listed[T], error) {
	return list[T](ctx, a, &PageQuery{}, method, req)
}

func placeOfLease(l s4t.Lease) string { return "/v1/leases/" + string(l.ID) }

// parseNear reads a place of a filter, LAT,LON.
func parseNear(op, text string) (*s4t.Location, error) {
	lat, lon, _ := strings.Cut(text, ",")
	var l s4t.Location
	var err, err2 error
	l.Latitude, err = strconv.ParseFloat(strings.TrimSpace(lat), 64)
	l.Longitude, err2 = strconv.ParseFloat(strings.TrimSpace(lon), 64)
	if err != nil || err2 != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "write it as LAT,LON in degrees", "%q is no place", s4t.Line(text, s4t.MaxName))
	}
	return &l, l.Validate()
}
