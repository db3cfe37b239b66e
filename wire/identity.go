package wire

import (
	"time"

	"github.com/stack4things/s4t"
)

// Caller is who asks, resolved once from a token by the API and carried with
// the request. Every method of the conductor that a user can reach takes one
// and enforces it.
type Caller struct {
	User    string        `json:"user"` // name
	UserID  s4t.UserID    `json:"user_id"`
	Project s4t.ProjectID `json:"project"`
	Role    s4t.Role      `json:"role"`
	Token   s4t.TokenID   `json:"token"` // its public id, for the audit
}

// Sees reports whether what belongs to a project exists for the caller: for an
// admin all does, for others what is of their own project. What belongs to no
// project is for admins.
func (c Caller) Sees(project s4t.ProjectID) bool {
	return c.Role.Covers(s4t.RoleAdmin) || project != "" && project == c.Project
}

// Methods of the conductor: identity. Ref is a name or an id.
const (
	MethodLogin         = "identity.login"  // LoginRequest -> s4t.Token (with Secret)
	MethodVerify        = "identity.verify" // VerifyRequest -> Caller
	MethodProjectCreate = "project.create"  // ProjectCreate -> s4t.Project
	MethodProjectUpdate = "project.update"  // ProjectUpdate -> s4t.Project
	MethodProjectList   = "project.list"    // ListRequest -> List[s4t.Project]
	MethodProjectGet    = "project.get"     // RefRequest -> s4t.Project
	MethodProjectDelete = "project.delete"  // RefRequest -> Empty
	MethodUserCreate    = "user.create"     // UserCreate -> s4t.User
	MethodUserList      = "user.list"       // ListRequest -> List[s4t.User]
	MethodUserDelete    = "user.delete"     // RefRequest -> Empty
	MethodUserPassword  = "user.password"   // UserPassword -> Empty
	MethodTokenCreate   = "token.create"    // TokenCreate -> s4t.Token (with Secret)
	MethodTokenList     = "token.list"      // ListRequest -> List[s4t.Token]
	MethodTokenRevoke   = "token.revoke"    // RefRequest -> Empty
)

// LoginRequest exchanges a password for a token.
type LoginRequest struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Project  string `json:"project,omitempty"` // name or id; the user's own by default
}

// VerifyRequest resolves a token's secret.
type VerifyRequest struct {
	Secret string `json:"secret"`
}

// RefRequest names one object by name or id.
type RefRequest struct {
	Caller Caller `json:"caller"`
	Ref    string `json:"ref"`
}

// ProjectCreate creates a project.
type ProjectCreate struct {
	Caller Caller `json:"caller"`
	Name   string `json:"name"`
	Weight int    `json:"weight,omitempty"` // 0: the default
}

// ProjectUpdate changes what is not nil.
type ProjectUpdate struct {
	Caller Caller `json:"caller"`
	Ref    string `json:"ref"`
	Weight *int   `json:"weight,omitempty"`
}

// UserCreate creates a user.
type UserCreate struct {
	Caller   Caller   `json:"caller"`
	Name     string   `json:"name"`
	Project  string   `json:"project"`
	Role     s4t.Role `json:"role"`
	Password string   `json:"password,omitempty"` // none: cannot log in, tokens only
}

// UserPassword gives a user a new password. Who is no admin may change only
// the own one.
type UserPassword struct {
	Caller   Caller `json:"caller"`
	Ref      string `json:"ref,omitempty"` // name or id; the caller by default
	Password string `json:"password"`
}

// TokenCreate creates a token that is never stronger than its creator.
type TokenCreate struct {
	Caller  Caller        `json:"caller"`
	Project string        `json:"project,omitempty"` // name or id; the caller's by default
	Role    s4t.Role      `json:"role,omitempty"`    // the caller's by default
	Expires time.Duration `json:"expires,omitempty"` // from now; 0 means it does not expire
}
