package api

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// serviceRoutes are exposed services and the audit.
func (a *API) serviceRoutes() {
	register(a, guarded, "GET /v1/services", "service.list", "List exposed services", "Of all boards.",
		func(ctx context.Context, in *PageQuery) (*listed[s4t.Service], error) {
			return a.listServices(ctx, in, "")
		})
	register(a, guarded, "GET /v1/services/{service}", "service.show", "Show an exposed service", "",
		func(ctx context.Context, in *struct {
			Service string `path:"service" maxLength:"63" doc:"Id"`
		}) (*answered[s4t.Service], error) {
			return a.getService(ctx, wire.MethodServiceGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Service})
		})
	register(a, guarded, "GET /v1/boards/{board}/services", "board.services", "List exposed services of a board", "",
		func(ctx context.Context, in *struct {
			PageQuery
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
		}) (*listed[s4t.Service], error) {
			return a.listServices(ctx, &in.PageQuery, in.Board)
		})
	register(a, guarded, "POST /v1/boards/{board}/services", "service.expose", "Expose a service", "Gives a TCP service of the board a public port.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
			Body  apiclient.ServiceExpose
		}) (*output[s4t.Operation], error) {
			b := in.Body
			if err := a.checkZone(ctx, "service.expose", b.DNSName); err != nil {
				return nil, err
			}
			return accepted(ctx, a, wire.MethodServiceExpose, wire.ServiceExpose{Caller: callerOf(ctx), Board: in.Board, Service: b.Service, Target: b.Target, PublicPort: b.PublicPort, DNSName: b.DNSName})
		})
	register(a, guarded, "PATCH /v1/boards/{board}/services/{service}", "service.update", "Update an exposed service", "What is absent stays as it is.",
		func(ctx context.Context, in *struct {
			Board   string `path:"board" maxLength:"63" doc:"Name or id"`
			Service string `path:"service" maxLength:"63" doc:"Name, TCP port or id"`
			Body    apiclient.ServiceUpdate
		}) (*answered[s4t.Service], error) {
			if name := in.Body.DNSName; name != nil {
				if err := a.checkZone(ctx, "service.update", *name); err != nil {
					return nil, err
				}
			}
			return a.getService(ctx, wire.MethodServiceUpdate, wire.ServiceUpdate{Caller: callerOf(ctx), Board: in.Board, Service: in.Service, DNSName: in.Body.DNSName})
		})
	register(a, guarded, "DELETE /v1/boards/{board}/services/{service}", "service.hide", "Hide a service", "Closes its public port and the streams through it.",
		func(ctx context.Context, in *struct {
			Board   string `path:"board" maxLength:"63" doc:"Name or id"`
			Service string `path:"service" maxLength:"63" doc:"Name, TCP port or id"`
		}) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodServiceHide, wire.ServiceHide{Caller: callerOf(ctx), Board: in.Board, Service: in.Service})
		})
	a.auditRoutes()
	register(a, guarded, "GET /v1/audit", "audit.list", "List audit records", "Who did what to which object, oldest first.",
		func(ctx context.Context, in *struct {
			PageQuery
			Board string `query:"board" maxLength:"63" doc:"Name or id of a board: records about it"`
			Since string `query:"since" maxLength:"32" example:"1h" doc:"Records of this long a time until now"`
		}) (*listed[s4t.AuditRecord], error) {
			req := wire.AuditList{Caller: callerOf(ctx), Board: in.Board, Page: in.page()}
			if in.Since != "" {
				var err error
				if req.Since, err = duration("since", in.Since, time.Millisecond, 100*365*24*time.Hour); err != nil {
					return nil, a.answer(ctx, "audit.list", err)
				}
			}
			return list[s4t.AuditRecord](ctx, a, &in.PageQuery, wire.MethodAuditList, req)
		})
}

// checkZone refuses a DNS name where nobody would answer for it.
func (a *API) checkZone(ctx context.Context, operation, name string) error {
	if name == "" || a.zone != "" {
		return nil
	}
	return a.answer(ctx, operation, s4t.Errorf(s4t.Conflict, "name a service", "ask the operator for a zone: iotronic serve --dns-zone", "this cloud has no DNS zone"))
}

// named says what a service's whole name is.
func (a *API) named(s *s4t.Service) {
	if s.DNSName != "" && a.zone != "" {
		s.FQDN = s.DNSName + "." + a.zone
	}
}

func (a *API) getService(ctx context.Context, method string, req any) (*answered[s4t.Service], error) {
	s, err := get[s4t.Service](ctx, a, method, req)
	if err == nil {
		a.named(&s.Body)
	}
	return s, err
}

func (a *API) listServices(ctx context.Context, page *PageQuery, board string) (*listed[s4t.Service], error) {
	l, err := list[s4t.Service](ctx, a, page, wire.MethodServiceList, wire.ServiceList{Caller: callerOf(ctx), Board: board, Page: page.page()})
	if err != nil {
		return nil, err
	}
	for i := range l.Body.list {
		a.named(&l.Body.list[i])
	}
	return l, nil
}
