package api

import (
	"context"

	"github.com/stack4things/s4t/apiclient"
)

// trustRoutes is how users' programs learn of a change of the CA. It says no more
// than the TLS handshake does, and needs no token.
func (a *API) trustRoutes() {
	register(a, public, "GET /v1/trust", "trust", "What to trust", "As the cloud's certificate, now and when the one that is announced takes its place.",
		func(context.Context, *nothing) (*answered[apiclient.Trust], error) {
			t := a.trust()
			return &answered[apiclient.Trust]{apiclient.Trust{CAs: t.CAs, SystemRoots: t.SystemRoots, Sum: t.Sum()}}, nil
		})
}
