package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// nothing is the input or output of a route that has none.
type nothing = struct{}

// bodyOf is the input of a route that has only a body.
type bodyOf[T any] struct{ Body T }

// projectRef is the input of a route about one project.
type projectRef struct {
	Project string `path:"project" maxLength:"63" doc:"Name or id"`
}

// userRef is the input of a route about one user.
type userRef struct {
	User string `path:"user" maxLength:"63" doc:"Name or id"`
}

// tokenRef is the input of a route about one token.
type tokenRef struct {
	Token string `path:"token" maxLength:"63" doc:"Id, not the secret"`
}

// identityRoutes are login, version, projects, users and tokens.
func (a *API) identityRoutes() {
	register(a, public, "POST /v1/login", "login", "Log in", "Exchanges a password for a token. Needs none.",
		func(ctx context.Context, in *bodyOf[apiclient.Login]) (*answered[s4t.Token], error) {
			expires, err := lifetime(in.Body.Expires)
			if err != nil {
				return nil, a.answer(ctx, "login", err)
			}
			return get[s4t.Token](ctx, a, wire.MethodLogin, wire.LoginRequest{User: in.Body.User, Password: in.Body.Password, Project: in.Body.Project, Expires: expires, Source: sourceOf(ctx)})
		}, func(op *huma.Operation) { op.MaxBodyBytes = loginBody })
	register(a, public, "GET /v1/version", "version", "Version", "Of the cloud and of the API. Needs no token.",
		func(context.Context, *nothing) (*answered[apiclient.Version], error) {
			return &answered[apiclient.Version]{apiclient.Version{Version: a.version, API: "v1"}}, nil
		})

	registerList[s4t.Project](a, "GET /v1/projects", "project.list", "List projects", "Those that the caller may see.", wire.MethodProjectList)
	register(a, guarded, "POST /v1/projects", "project.create", "Create a project", "Needs the role admin.",
		func(ctx context.Context, in *bodyOf[apiclient.ProjectCreate]) (*output[s4t.Project], error) {
			return created(ctx, a, wire.MethodProjectCreate, wire.ProjectCreate{Caller: callerOf(ctx), Name: in.Body.Name, Weight: in.Body.Weight},
				func(p s4t.Project) string { return "/v1/projects/" + string(p.ID) })
		})
	register(a, guarded, "GET /v1/projects/{project}", "project.show", "Show a project", "With what it has, and may have.",
		func(ctx context.Context, in *projectRef) (*answered[s4t.Project], error) {
			out, err := get[s4t.Project](ctx, a, wire.MethodProjectGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Project})
			if err == nil {
				if q, ok := out.Body.Quota[s4t.QuotaWatchers]; ok { // who watches is known here only
					q.Used += a.watchers.used(out.Body.ID)
					out.Body.Quota[s4t.QuotaWatchers] = q
				}
			}
			return out, err
		})
	register(a, guarded, "PATCH /v1/projects/{project}", "project.update", "Change a project", "What is absent stays. Needs the role admin; record_terminals by itself the role manager.",
		func(ctx context.Context, in *struct {
			Project string `path:"project" maxLength:"63" doc:"Name or id"`
			Body    apiclient.ProjectUpdate
		}) (*answered[s4t.Project], error) {
			return get[s4t.Project](ctx, a, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: callerOf(ctx), Ref: in.Project, Weight: in.Body.Weight, Quota: in.Body.Quota, RecordTerminals: in.Body.RecordTerminals})
		})
	register(a, guarded, "DELETE /v1/projects/{project}", "project.delete", "Delete a project", "It must be empty. Needs the role admin.",
		func(ctx context.Context, in *projectRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodProjectDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Project})
		})

	registerList[s4t.User](a, "GET /v1/users", "user.list", "List users", "Those that the caller may see.", wire.MethodUserList)
	register(a, guarded, "POST /v1/users", "user.create", "Create a user", "Needs the role manager, for one of the own project; the role admin for one of another, or for an admin.",
		func(ctx context.Context, in *bodyOf[apiclient.UserCreate]) (*output[s4t.User], error) {
			b := in.Body
			return created(ctx, a, wire.MethodUserCreate, wire.UserCreate{Caller: callerOf(ctx), Name: b.Name, Project: b.Project, Role: b.Role, Password: b.Password},
				func(u s4t.User) string { return "/v1/users/" + string(u.ID) })
		})
	register(a, guarded, "GET /v1/users/{user}", "user.show", "Show a user", "",
		func(ctx context.Context, in *userRef) (*answered[s4t.User], error) {
			return find(ctx, a, wire.MethodUserList, "user", in.User, func(u s4t.User) bool { return string(u.ID) == in.User || u.Name == in.User })
		})
	register(a, guarded, "PUT /v1/users/{user}/password", "user.password", "Change a password", "One's own, or, with the role manager, one of the project's; with the role admin, anybody's. The user's tokens stay valid.",
		func(ctx context.Context, in *struct {
			User string `path:"user" maxLength:"63" doc:"Name or id; -: who asks"`
			Body apiclient.UserPassword
		}) (*nothing, error) {
			ref := in.User
			if ref == apiclient.Self {
				ref = ""
			}
			return drop(ctx, a, wire.MethodUserPassword, wire.UserPassword{Caller: callerOf(ctx), Ref: ref, Password: in.Body.Password})
		})
	register(a, guarded, "DELETE /v1/users/{user}", "user.delete", "Delete a user", "With the user's tokens. Needs the role manager, for one of the own project.",
		func(ctx context.Context, in *userRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodUserDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.User})
		})

	registerList[s4t.Token](a, "GET /v1/tokens", "token.list", "List tokens", "Without their secrets.", wire.MethodTokenList)
	register(a, guarded, "POST /v1/tokens", "token.create", "Create a token", "The secret is in this answer and in no other. A token is never stronger than the one that creates it, ends with it at the latest, and is revoked with it.", a.createToken)
	register(a, guarded, "GET /v1/tokens/{token}", "token.show", "Show a token", "Without its secret.",
		func(ctx context.Context, in *tokenRef) (*answered[s4t.Token], error) {
			return find(ctx, a, wire.MethodTokenList, "token", in.Token, func(t s4t.Token) bool { return string(t.ID) == in.Token })
		})
	register(a, guarded, "DELETE /v1/tokens/{token}", "token.revoke", "Revoke a token", "It is worth nothing from then on, nor is any that it made.",
		func(ctx context.Context, in *tokenRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodTokenRevoke, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Token})
		})
}

func (a *API) createToken(ctx context.Context, in *bodyOf[apiclient.TokenCreate]) (*output[s4t.Token], error) {
	b := in.Body
	expires, err := lifetime(b.Expires)
	if err != nil {
		return nil, a.answer(ctx, "token.create", err)
	}
	return created(ctx, a, wire.MethodTokenCreate, wire.TokenCreate{Caller: callerOf(ctx), User: b.User, Project: b.Project, Role: b.Role, Expires: expires},
		func(t s4t.Token) string { return "/v1/tokens/" + string(t.ID) })
}

// lifetime reads how long a token is to be valid; 0 where it is not said.
func lifetime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return duration("expires", text, time.Second, 100*365*24*time.Hour)
}

// duration reads a Go duration between lo and hi.
func duration(field, text string, lo, hi time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < lo || d > hi {
		return 0, s4t.Errorf(s4t.Invalid, "check the request", "write it as 90m or 24h", "%s %q is not a duration between %v and %v", field, text, lo, hi)
	}
	return d, nil
}
