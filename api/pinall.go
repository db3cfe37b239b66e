package api

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// allPins is the input of GET /v1/pins.
type allPins struct {
	PageQuery
	Board       []string `query:"board,explode" maxItems:"250" maxLength:"63" doc:"Name or id; repeated: only these"`
	IfNoneMatch string   `header:"If-None-Match" maxLength:"64" doc:"The ETag of an answer before: 304 where nothing has changed since"`

	gzip bool // the client takes it
}

// Resolve keeps what the answer depends on.
func (in *allPins) Resolve(ctx huma.Context) []error {
	for part := range strings.SplitSeq(ctx.Header("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(coding, "gzip") && strings.TrimSpace(weight) != "q=0" {
			in.gzip = true
		}
	}
	return in.PageQuery.Resolve(ctx)
}

// pinAllRoutes are the pins of all boards.
func (a *API) pinAllRoutes() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[[]wire.PinBoard](), true, "")
	header := func(text string) *huma.Header {
		return &huma.Header{Description: text, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	register(a, guarded, "GET /v1/pins", "pin.list-all", "List the pins of all boards",
		"Boards that the caller sees, with what each reported of its pins last, without values. A page has as many boards as fit, a thousand and more, unless limit says fewer.",
		a.listAllPins, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{
				"200": {
					Description: "A page of the list",
					Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
					Headers: map[string]*huma.Header{
						"Link":       header("<URL>; rel=\"next\": the path of the next page; absent on the last"),
						"X-Event-Id": header("Id of the newest event when this was read"),
						"ETag":       header("For If-None-Match"),
					},
				},
				"304": {Description: "Nothing has changed since the answer with this ETag"},
			}
		})
}

func (a *API) listAllPins(ctx context.Context, in *allPins) (*huma.StreamResponse, error) {
	req := wire.PinAll{Caller: callerOf(ctx), Boards: in.Board, Page: in.page()}
	if tag, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(in.IfNoneMatch, "W/"), `"`), 10, 64); err == nil && in.After == "" {
		req.Known = tag
	}
	l, err := call[wire.PinBoards](ctx, a, wire.MethodPinAll, req)
	if err != nil {
		return nil, err
	}
	body := []byte(nil)
	if !l.Unchanged {
		if l.Items == nil {
			l.Items = []wire.PinBoard{}
		}
		for i := range l.Items {
			if l.Items[i].Pins == nil {
				l.Items[i].Pins = []s4t.Pin{}
			}
		}
		if body, err = json.Marshal(l.Items); err != nil {
			return nil, a.answer(ctx, "pin.list-all", s4t.Errorf(s4t.Internal, "list pins", "", "%w", err))
		}
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("X-Event-Id", strconv.FormatInt(l.EventID, 10))
		hctx.SetHeader("ETag", `W/"`+strconv.FormatInt(l.EventID, 10)+`"`)
		hctx.SetHeader("Vary", "Accept-Encoding, Authorization, X-Auth-Token")
		if l.Unchanged {
			hctx.SetStatus(http.StatusNotModified)
			return
		}
		if link := in.link(l.Next); link != "" {
			hctx.SetHeader("Link", link)
		}
		hctx.SetHeader("Content-Type", "application/json")
		if !in.gzip {
			hctx.BodyWriter().Write(body)
			return
		}
		hctx.SetHeader("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(hctx.BodyWriter(), gzip.BestSpeed) // a level that there is
		z.Write(body)
		z.Close()
	}}, nil
}
