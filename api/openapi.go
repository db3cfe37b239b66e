package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// access says whether a route needs a token.
type access bool

const (
	public  access = false
	guarded access = true
)

// openAPIConfig is that of every route.
func openAPIConfig(version string) huma.Config {
	c := huma.DefaultConfig("Stack4Things", version)
	c.Info.Description = "Boards behind NATs and firewalls: access to their services, virtual networks among them. " +
		"Lists are bare arrays, in pages of at most 500: the header `Link` leads to the next one, and `X-Event-Id` says as of which event the page is; names and ids are interchangeable in paths; a change of desired state answers 202 with an operation; errors are RFC 9457 problems with `kind` and `hint`."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", "" // served by documentRoutes
	c.CreateHooks = nil                                   // no "$schema" in answers
	c.Transformers = []huma.Transformer{transformProblem}
	json := huma.Format{Marshal: encode, Unmarshal: decode}
	c.Formats = map[string]huma.Format{"application/json": json, "json": json}
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":       {Type: "http", Scheme: "bearer", Description: "Authorization: Bearer TOKEN"},
		"session":      {Type: "apiKey", In: "header", Name: apiclient.SessionHeader, Description: "One half of a browser's session, as POST /v1/session answered it; the browser sends the other half, the cookie, by itself"},
		"x-auth-token": {Type: "apiKey", In: "header", Name: "X-Auth-Token", Description: "The same token, as OpenStack's clients send it"},
	}
	return c
}

// encode writes a body. A list writes itself: encoding/json would read again what it has written.
func encode(w io.Writer, v any) error {
	if l, ok := v.(interface{ writeJSON(io.Writer) error }); ok {
		return l.writeJSON(w)
	}
	return huma.DefaultJSONFormat.Marshal(w, v)
}

// decode is the only decoder of bodies. Unknown fields are refused by the
// schema, which names them.
func decode(b []byte, v any) error {
	if err := checkDepth(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// register adds a route: pattern is "METHOD /path", id its operation id.
func register[I, O any](a *API, needs access, pattern, id, summary, description string, handler func(context.Context, *I) (*O, error), change ...func(*huma.Operation)) {
	method, path, _ := strings.Cut(pattern, " ")
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Description: description,
		Tags:         []string{strings.Split(path, "/")[2]},
		MaxBodyBytes: s4t.MaxMessage, BodyReadTimeout: -1, // the server has its own bounds
	}
	if needs == guarded {
		op.Security = []map[string][]string{{"bearer": {}}, {"x-auth-token": {}}, {"session": {}}}
	}
	switch out := typeOf[O](); {
	case out.NumField() == 0:
		op.DefaultStatus = http.StatusNoContent
	case out == typeOf[output[s4t.Operation]]():
		op.DefaultStatus = http.StatusAccepted
	case strings.HasPrefix(out.Name(), "output["):
		op.DefaultStatus = http.StatusCreated
	}
	for _, f := range change {
		f(&op)
	}
	huma.Register(a.huma, op, handler)
}

// finishOpenAPI documents our errors in place of huma's.
func finishOpenAPI(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	schema := schemas.Schema(typeOf[apiclient.Problem](), true, "")
	body := map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}
	kinds := map[int][]string{}
	for _, k := range []s4t.Kind{s4t.Invalid, s4t.Unauthenticated, s4t.Forbidden, s4t.NotFound, s4t.Conflict, s4t.Stale, s4t.TooMany, s4t.Offline, s4t.Unavailable, s4t.Timeout, s4t.Internal} {
		kinds[wire.HTTPStatus(k)] = append(kinds[wire.HTTPStatus(k)], string(k))
	}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete, item.Put} {
			if op == nil {
				continue
			}
			for code := range op.Responses {
				if code == "default" || code >= "400" && code != commandFailed {
					delete(op.Responses, code)
				}
			}
			if failed := op.Responses[commandFailed]; failed != nil {
				failed.Content = body
			}
			for status, k := range kinds {
				op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status) + ": " + strings.Join(k, ", "), Content: body}
			}
		}
	}
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
