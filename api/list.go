package api

import (
	"context"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// PageQuery is what every list takes. It is exported for huma, which looks
// into no other embedded type.
type PageQuery struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" doc:"At most so many objects in this answer; 500 by default. The header Link leads to the rest"`
	PageRest
}

// PageRest is what a list takes whose limit is another. It is exported as [PageQuery] is.
type PageRest struct {
	After string `query:"after" maxLength:"1024" doc:"Where the page before ended, as its header Link says it"`

	Fields string `query:"fields" maxLength:"1024" example:"name,status,info.version" doc:"Only these fields of each object, and its id; all by default"`

	self url.URL // of the request
}

// Resolve keeps the URL, for the link to the next page.
func (q *PageRest) Resolve(ctx huma.Context) []error {
	q.self = ctx.URL()
	return nil
}

// Resolve keeps the URL, for the link to the next page.
func (q *PageQuery) Resolve(ctx huma.Context) []error { return q.PageRest.Resolve(ctx) }

func (q *PageQuery) page() wire.Page { return wire.Page{Limit: q.Limit, After: q.After} }

// link is the header that leads to the same request after a page (RFC 8288);
// empty where there is no next one.
func (q *PageRest) link(next string) string {
	if next == "" {
		return ""
	}
	values := q.self.Query()
	values.Set("after", next)
	return "<" + q.self.EscapedPath() + "?" + values.Encode() + `>; rel="next"`
}

// listed is a page of a list: a bare array, never null.
type listed[T any] struct {
	Link    string `header:"Link" doc:"<URL>; rel=\"next\": the path of the next page; absent on the last"`
	EventID int64  `header:"X-Event-Id" doc:"Id of the newest event when this was read: what has changed since is told by events after it"`
	Body    items[T]
}

// list calls a method and answers with the page.
func list[T any](ctx context.Context, a *API, q *PageQuery, method string, req any) (*listed[T], error) {
	var fields *wire.Projection
	if q.Fields != "" {
		var err error
		if fields, err = wire.ProjectionOf[T](method, q.Fields); err != nil {
			return nil, a.answer(ctx, method, err)
		}
	}
	l, err := call[wire.List[T]](ctx, a, method, req)
	if err != nil {
		return nil, err
	}
	return &listed[T]{q.link(l.Next), l.EventID, items[T]{list: l.Items, fields: fields}}, nil
}

// registerList adds the route of a list that has no filter.
func registerList[T any](a *API, pattern, id, summary, description, method string) {
	register(a, guarded, pattern, id, summary, description,
		func(ctx context.Context, in *PageQuery) (*listed[T], error) {
			return list[T](ctx, a, in, method, wire.ListRequest{Caller: callerOf(ctx), Page: in.page()})
		})
}

// find returns the one element of a list that is.
func find[T any](ctx context.Context, a *API, method, what, ref string, is func(T) bool) (*answered[T], error) {
	req := wire.ListRequest{Caller: callerOf(ctx)}
	for {
		l, err := call[wire.List[T]](ctx, a, method, req)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(l.Items, is); i >= 0 {
			return &answered[T]{l.Items[i]}, nil
		}
		if l.Next == "" || l.Next == req.Page.After {
			return nil, problemOf(s4t.Errorf(s4t.NotFound, "show "+what, "", "%s %q does not exist", what, ref))
		}
		req.Page.After = l.Next
	}
}
