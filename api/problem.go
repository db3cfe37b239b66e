package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// problem is an error answer. It satisfies huma's StatusError and
// ContentTypeFilter.
type problem struct {
	apiclient.Problem
	retryAfter time.Duration // 0: not known
}

// Error is for huma, which never shows it.
func (p *problem) Error() string { return p.Detail }

// GetStatus is for huma.
func (p *problem) GetStatus() int { return p.Status }

// GetHeaders is for huma: when to come again, in whole seconds (RFC 9110,
// section 10.2.3), and which operation it is about.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retryAfter+time.Second-1)/time.Second), 10))
	}
	if p.Operation != "" {
		h.Set("Location", "/v1/operations/"+string(p.Operation))
		h.Set(apiclient.OperationHeader, string(p.Operation))
	}
	return h
}

// ContentType is that of RFC 9457, section 3.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// problemOf makes an answer of an error. Of an internal error nothing is
// shown; whoever calls problemOf logs it.
func problemOf(err error) *problem {
	e := wire.FromError(err)
	detail := e.Msg
	if e.Op != "" {
		detail = e.Op + ": " + e.Msg
	}
	p := newProblem(wire.HTTPStatus(e.Kind), e.Kind, detail, e.Hint)
	p.retryAfter = e.RetryAfter
	return p
}

func newProblem(status int, kind s4t.Kind, detail, hint string) *problem {
	return &problem{Problem: apiclient.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: detail, Kind: kind, Hint: hint,
	}}
}

// answer converts an error of a route for huma, and logs what is ours.
func (a *API) answer(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if s4t.KindOf(err) == s4t.Internal {
		a.log.ErrorContext(ctx, "a request failed", "op", op, "err", err)
	}
	return problemOf(err)
}

// speakProblem is a middleware that makes huma's own refusals (a body that
// does not parse or validate) ours: its status 422 becomes 400.
func speakProblem(ctx huma.Context, next func(huma.Context)) { next(problemContext{ctx}) }

// humaContext can be embedded: an embedded huma.Context hides its own method
// Context.
type humaContext huma.Context

type problemContext struct{ humaContext }

// SetStatus maps 422 to 400; see speakProblem.
func (c problemContext) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity {
		code = http.StatusBadRequest
	}
	c.humaContext.SetStatus(code)
}

// Unwrap lets humago find the request.
func (c problemContext) Unwrap() huma.Context { return c.humaContext }

// transformProblem rewrites huma's error bodies as ours. What was sent is not
// echoed: it may hold a password.
func transformProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if m.Status >= 500 {
		return newProblem(m.Status, s4t.Internal, "internal error", "the operator finds the details in the log of iotronic"), nil
	}
	status, kind := m.Status, s4t.Invalid
	switch status {
	case http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	case http.StatusRequestTimeout:
		kind = s4t.Timeout
	}
	var what []string
	for i, d := range m.Errors {
		if i == maxComplaints {
			what = append(what, fmt.Sprintf("and %d more", len(m.Errors)-i))
			break
		}
		s := d.Message
		if d.Location != "" {
			s = d.Location + ": " + s
		}
		what = append(what, s)
	}
	if len(what) == 0 {
		what = []string{m.Detail}
	}
	hint := "GET /v1/docs describes every request"
	if status == http.StatusUnsupportedMediaType {
		hint = "send JSON with the header Content-Type: application/json"
	}
	return newProblem(status, kind, "check the request: "+strings.Join(what, "; "), hint), nil
}

// maxComplaints is how many faults of one request are listed.
const maxComplaints = 5

// errTooDeep is the answer to a body that nests deeper than maxDepth.
var errTooDeep = errors.New("it nests too deeply")

// maxDepth bounds the nesting of a body; ours need three levels.
const maxDepth = 16

// checkDepth refuses a text that nests deeper.
func checkDepth(b []byte) error {
	if wire.Deeper(b, maxDepth) {
		return errTooDeep
	}
	return nil
}
