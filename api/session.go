package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// A browser's session is a cookie that no script reads and a half that no other server is sent;
// both together are the secret of a token (wire.SessionSecret). A request that has only one of
// them is made by nobody. Public ports put what boards serve on the host of this API: their
// servers are sent the cookie, and their pages can make a browser send it, but have no half.

// crossOrigin refuses what another site's page makes a browser send, other ports of the same host
// included: a login there would be somebody else's.
var crossOrigin = http.NewCrossOriginProtection()

// maxHalf bounds a half of a session, in bytes: 26 are made.
const maxHalf = 64

// cookieName is that of sessions of the cloud at a URL: a browser that has several clouds behind
// ports of one host keeps a session with each.
func cookieName(url string) string {
	sum := sha256.Sum256([]byte(url))
	return "__Host-s4t-" + hex.EncodeToString(sum[:4])
}

// sessionSecret is the secret of the session that a request is made in; empty: none.
func (a *API) sessionSecret(ctx huma.Context) string {
	half := ctx.Header(apiclient.SessionHeader)
	if half == "" || len(half) > maxHalf {
		return ""
	}
	r, _ := humago.Unwrap(ctx)
	cookie, err := r.Cookie(a.cookie)
	if err != nil || cookie.Value == "" || len(cookie.Value) > maxHalf {
		return ""
	}
	return wire.SessionSecret(cookie.Value, half)
}

// setCookie is the header that sets the cookie of a session, or, where value is empty, deletes it.
func (a *API) setCookie(value string) string {
	c := http.Cookie{Name: a.cookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	} else {
		c.MaxAge = int(s4t.SessionLifetime.Seconds())
	}
	return c.String()
}

// withCookie is an answer that sets the cookie.
type withCookie[T any] struct {
	SetCookie string `header:"Set-Cookie" doc:"The other half of the session"`
	Body      T
}

// sessionRoutes are the sessions of browsers.
func (a *API) sessionRoutes() {
	register(a, public, "POST /v1/session", "session.create", "Begin a browser's session",
		"For a password, or for a code of POST /v1/session/code, which works once. The answer has one half of the session, to be sent as X-S4T-Session with every request; the other half is a cookie. "+
			"It ends after a week, after 12 hours without a request, or when it is revoked: it is one of the tokens.",
		func(ctx context.Context, in *bodyOf[apiclient.SessionCreate]) (*withCookie[s4t.Session], error) {
			b := in.Body
			if (b.Code == "") == (b.User == "") {
				return nil, a.answer(ctx, "session.create", s4t.Errorf(s4t.Invalid, "begin a session", "give one of them", "it takes a user and a password, or a code"))
			}
			cookie, half := rand.Text(), rand.Text()
			session, err := call[s4t.Session](ctx, a, wire.MethodSessionOpen, wire.SessionOpen{
				Login: wire.LoginRequest{User: b.User, Password: b.Password, Project: b.Project, Source: sourceOf(ctx)},
				Code:  b.Code, Secret: wire.SessionSecret(cookie, half),
			})
			if err != nil {
				return nil, err
			}
			session.Half = half
			return &withCookie[s4t.Session]{a.setCookie(cookie), session}, nil
		}, func(op *huma.Operation) { op.MaxBodyBytes = loginBody })
	register(a, guarded, "GET /v1/session", "session.show", "Show who asks", "The user, the project and the role of the token in use, or of the session.",
		func(ctx context.Context, _ *nothing) (*answered[s4t.Session], error) {
			return get[s4t.Session](ctx, a, wire.MethodSessionGet, wire.SessionOf{Caller: callerOf(ctx)})
		})
	register(a, guarded, "DELETE /v1/session", "session.delete", "Log out", "The token in use, or the session, is worth nothing from then on, nor is any that it made.",
		func(ctx context.Context, _ *nothing) (*loggedOut, error) {
			caller := callerOf(ctx)
			_, err := call[wire.Empty](ctx, a, wire.MethodTokenRevoke, wire.RefRequest{Caller: caller, Ref: string(caller.Token)})
			return &loggedOut{a.setCookie("")}, err
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusNoContent })
	register(a, guarded, "POST /v1/session/code", "session.code", "Make a code that logs a browser in",
		"It begins a session as who asks, once, within a minute, that is never stronger than the token in use and ends with it at the latest.",
		func(ctx context.Context, _ *nothing) (*answered[s4t.LoginCode], error) {
			return get[s4t.LoginCode](ctx, a, wire.MethodSessionCode, wire.SessionOf{Caller: callerOf(ctx)})
		})
}

// loggedOut deletes the cookie.
type loggedOut struct {
	SetCookie string `header:"Set-Cookie" doc:"Deletes the other half of the session"`
}
