package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// guard wraps the routes: headers, panics, and answers for what is no route.
func (a *API) guard() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		if sum := a.trust().Sum(); sum != "" {
			h.Set(apiclient.TrustHeader, sum)
		}
		w, finish := compress(w, r)
		defer finish()
		seen := &statusWriter{ResponseWriter: w, http1: r.ProtoMajor == 1, below: a.below}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				a.log.Error("a route panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if seen.status == 0 {
					writeProblem(seen, problemOf(s4t.Errorf(s4t.Internal, "", "", "panic")))
				}
			}
			a.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", seen.status, "took", time.Since(start))
		}()
		r = joinPinPath(r)
		if err := crossOrigin.Check(r); err != nil {
			writeProblem(seen, problemOf(s4t.Errorf(s4t.Forbidden, r.Method+" "+r.URL.Path, "open the dashboard at the cloud's own address", "a page of another site asks for it")))
			return
		}
		r.Body = http.MaxBytesReader(seen, r.Body, s4t.MaxMessage)
		if handler, pattern := a.mux.Handler(r); pattern == "" {
			writeProblem(seen, noRoute(handler, seen, r))
			return
		}
		a.mux.ServeHTTP(seen, r)
	})
}

// noRoute says whether the path or only the method is wrong, as the mux's own
// answer does.
func noRoute(mux http.Handler, w http.ResponseWriter, r *http.Request) *problem {
	probe := &discardWriter{header: http.Header{}}
	mux.ServeHTTP(probe, r)
	what := fmt.Sprintf("%s %s: ", r.Method, r.URL.Path)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		return newProblem(probe.status, s4t.Invalid, what+"the method is not allowed here", "use "+allow)
	}
	return newProblem(http.StatusNotFound, s4t.NotFound, what+"there is no such route", "GET /v1/docs lists them")
}

func writeProblem(w http.ResponseWriter, p *problem) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// statusWriter remembers the status for the log.
type statusWriter struct {
	http.ResponseWriter
	http1  bool
	below  string // path that a reverse proxy has put the API at
	status int
}

// WriteHeader remembers the first status, and has links in the head lead below the proxy's path.
func (w *statusWriter) WriteHeader(status int) {
	if w.below != "" && w.status == 0 {
		for name, begin := range map[string]string{"Location": "", "Link": "<"} {
			if rest, ok := strings.CutPrefix(w.Header().Get(name), begin+"/v1/"); ok {
				w.Header().Set(name, begin+w.below+"/v1/"+rest)
			}
		}
	}
	if w.status == 0 {
		w.status = status
	}
	if w.http1 && (status == http.StatusRequestTimeout || status == http.StatusRequestEntityTooLarge) {
		// The rest of the body may still come: the server would take it for the
		// next request. Over HTTP/2 the stream alone is reset; a connection that
		// ended would cost clients (curl) this answer.
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discardWriter keeps status and header only.
type discardWriter struct {
	header http.Header
	status int
}

// Header of the answer.
func (w *discardWriter) Header() http.Header { return w.header }

// Write drops b.
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader keeps the status.
func (w *discardWriter) WriteHeader(status int) { w.status = status }

// callerKey is the context key of the [wire.Caller].
type callerKey struct{}

// secretKey is the context key of the secret of the token that a request was made with.
type secretKey struct{}

// secretOf returns it, to check it again while an answer takes long; authenticate has put it
// there.
func secretOf(ctx context.Context) string {
	s, _ := ctx.Value(secretKey{}).(string)
	return s
}

// callerOf returns who asks; authenticate has put it there.
func callerOf(ctx context.Context) wire.Caller {
	c, _ := ctx.Value(callerKey{}).(wire.Caller)
	return c
}

// maxToken bounds a bearer token, in bytes.
const maxToken = 512

// authenticate is a middleware that resolves the token, before anything else
// of the request is read. Routes without security need none.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	ctx = huma.WithContext(ctx, withSource(ctx.Context(), ctx.RemoteAddr()))
	if len(ctx.Operation().Security) == 0 {
		next(ctx)
		return
	}
	secret := bearer(ctx)
	if secret == "" {
		secret = a.sessionSecret(ctx)
	}
	caller, err := a.verify(ctx.Context(), secret)
	if err != nil {
		a.refuse(ctx, "verify a token", err)
		return
	}
	known := context.WithValue(ctx.Context(), callerKey{}, caller)
	next(huma.WithContext(ctx, context.WithValue(known, secretKey{}, secret)))
}

// verify asks identity what a token is worth now.
func (a *API) verify(ctx context.Context, secret string) (wire.Caller, error) {
	const op, hint = "authenticate", "log in with `s4t login`, or give a token as Authorization: Bearer TOKEN"
	if secret == "" {
		return wire.Caller{}, s4t.Errorf(s4t.Unauthenticated, op, hint, "no token was given")
	}
	if len(secret) > maxToken {
		return wire.Caller{}, s4t.Errorf(s4t.Unauthenticated, op, hint, "the token is not valid")
	}
	if project := a.gate.known.get(secret); project != "" {
		ctx = context.WithValue(ctx, callerKey{}, wire.Caller{Project: project}) // whose turn it is, no more
	}
	var caller wire.Caller
	err := a.ask(ctx, wire.MethodVerify, wire.VerifyRequest{Secret: secret}, &caller)
	if err == nil && (caller.Project == "" || !caller.Role.Valid()) {
		err = s4t.Errorf(s4t.Internal, op, "", "a token resolved to no project or role")
	}
	if err == nil || s4t.KindOf(err) == s4t.Unauthenticated {
		a.gate.known.set(secret, caller.Project)
	}
	return caller, err
}

// bearer returns the token of a request, from either header.
func bearer(ctx huma.Context) string {
	scheme, token, ok := strings.Cut(ctx.Header("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ctx.Header("X-Auth-Token")
}

// call asks the conductor.
func call[Reply any](ctx context.Context, a *API, method string, req any) (Reply, error) {
	var reply Reply
	err := a.ask(ctx, method, req, &reply)
	return reply, a.answer(ctx, method, err)
}

// output of a route: the body, a status where it is not 200, and where the
// new object is.
type output[T any] struct {
	Status   int
	Location string `header:"Location" doc:"Where the object, or the operation that changes it, is found"`
	Body     T
}

// answered has a body and no more.
type answered[T any] struct{ Body T }

// get calls a method and answers with its reply.
func get[Reply any](ctx context.Context, a *API, method string, req any) (*answered[Reply], error) {
	reply, err := call[Reply](ctx, a, method, req)
	if err != nil {
		return nil, err
	}
	return &answered[Reply]{reply}, nil
}

// drop calls a method that has no reply.
func drop(ctx context.Context, a *API, method string, req any) (*struct{}, error) {
	_, err := call[wire.Empty](ctx, a, method, req)
	return nil, err
}

// created calls a method and answers 201 with the object.
func created[Reply any](ctx context.Context, a *API, method string, req any, location func(Reply) string) (*output[Reply], error) {
	reply, err := call[Reply](ctx, a, method, req)
	if err != nil {
		return nil, err
	}
	return &output[Reply]{http.StatusCreated, location(reply), reply}, nil
}

// accepted calls a method that changes desired state, and answers 202 with
// the operation.
func accepted(ctx context.Context, a *API, method string, req any) (*output[s4t.Operation], error) {
	op, err := call[s4t.Operation](ctx, a, method, req)
	if err != nil {
		return nil, err
	}
	return &output[s4t.Operation]{http.StatusAccepted, "/v1/operations/" + string(op.ID), op}, nil
}
