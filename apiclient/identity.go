package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// Login exchanges a password for a token, whose secret is in the answer.
func (c *Client) Login(ctx context.Context, req Login) (t s4t.Token, err error) {
	return t, c.do(ctx, "log in", "POST", path("login"), req, &t)
}

// Version of the cloud; needs no token.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.do(ctx, "ask for the version", "GET", path("version"), nil, &v)
}

// Trust says what to trust as the cloud's certificate; it needs no token.
func (c *Client) Trust(ctx context.Context) (t Trust, err error) {
	return t, c.do(ctx, "ask whom to trust", "GET", path("trust"), nil, &t)
}

// Cloud says what who uses the cloud has to know of it.
func (c *Client) Cloud(ctx context.Context) (i s4t.Cloud, err error) {
	return i, c.do(ctx, "ask about the cloud", "GET", path("cloud"), nil, &i)
}

// Session says who asks, and with which token.
func (c *Client) Session(ctx context.Context) (s s4t.Session, err error) {
	return s, c.do(ctx, "show the session", "GET", path("session"), nil, &s)
}

// CreateLoginCode makes a code that logs a browser in, once, within a minute.
func (c *Client) CreateLoginCode(ctx context.Context) (code s4t.LoginCode, err error) {
	return code, c.do(ctx, "make a code that logs in", "POST", path("session", "code"), nil, &code)
}

// CreateProject needs the role admin.
func (c *Client) CreateProject(ctx context.Context, req ProjectCreate) (p s4t.Project, err error) {
	return p, c.do(ctx, "create project "+req.Name, "POST", path("projects"), req, &p)
}

// Projects lists those the caller may see.
func (c *Client) Projects(ctx context.Context) ([]s4t.Project, error) {
	return c.ProjectList().All(ctx)
}

// ProjectList is the list behind [Client.Projects].
func (c *Client) ProjectList() List[s4t.Project] {
	return List[s4t.Project]{c, "list projects", path("projects")}
}

// Project by name or id.
func (c *Client) Project(ctx context.Context, ref string) (p s4t.Project, err error) {
	return p, c.do(ctx, "show project "+ref, "GET", path("projects", ref), nil, &p)
}

// UpdateProject changes what is not nil. It needs the role admin; RecordTerminals by itself the
// role manager.
func (c *Client) UpdateProject(ctx context.Context, ref string, req ProjectUpdate) (p s4t.Project, err error) {
	return p, c.do(ctx, "update project "+ref, "PATCH", path("projects", ref), req, &p)
}

// DeleteProject deletes an empty project.
func (c *Client) DeleteProject(ctx context.Context, ref string) error {
	return c.do(ctx, "delete project "+ref, "DELETE", path("projects", ref), nil, nil)
}

// CreateUser needs the role manager, and for an admin or another project the
// role admin.
func (c *Client) CreateUser(ctx context.Context, req UserCreate) (u s4t.User, err error) {
	return u, c.do(ctx, "create user "+req.Name, "POST", path("users"), req, &u)
}

// Users lists those the caller may see.
func (c *Client) Users(ctx context.Context) ([]s4t.User, error) { return c.UserList().All(ctx) }

// UserList is the list behind [Client.Users].
func (c *Client) UserList() List[s4t.User] {
	return List[s4t.User]{c, "list users", path("users")}
}

// User by name or id.
func (c *Client) User(ctx context.Context, ref string) (u s4t.User, err error) {
	return u, c.do(ctx, "show user "+ref, "GET", path("users", ref), nil, &u)
}

// DeleteUser deletes a user and the user's tokens.
func (c *Client) DeleteUser(ctx context.Context, ref string) error {
	return c.do(ctx, "delete user "+ref, "DELETE", path("users", ref), nil, nil)
}

// Self stands for the user of the token in use.
const Self = "-"

// SetUserPassword gives a user another password; ref is a name, an id or
// [Self]. Another's takes the role manager.
func (c *Client) SetUserPassword(ctx context.Context, ref, password string) error {
	return c.do(ctx, "change the password of user "+ref, "PUT", path("users", ref, "password"), UserPassword{Password: password}, nil)
}

// CreateToken answers with the secret, once.
func (c *Client) CreateToken(ctx context.Context, req TokenCreate) (t s4t.Token, err error) {
	return t, c.do(ctx, "create a token", "POST", path("tokens"), req, &t)
}

// Tokens lists those the caller may see, without secrets.
func (c *Client) Tokens(ctx context.Context) ([]s4t.Token, error) { return c.TokenList().All(ctx) }

// TokenList is the list behind [Client.Tokens].
func (c *Client) TokenList() List[s4t.Token] {
	return List[s4t.Token]{c, "list tokens", path("tokens")}
}

// Token by id, without its secret.
func (c *Client) Token(ctx context.Context, id string) (t s4t.Token, err error) {
	return t, c.do(ctx, "show token "+id, "GET", path("tokens", id), nil, &t)
}

// RevokeToken ends a token now, and all that it made.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, "revoke token "+id, "DELETE", path("tokens", id), nil, nil)
}
