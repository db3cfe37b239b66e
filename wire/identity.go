package wire

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/stack4things/s4t"
)

// Caller is who asks, resolved once from a token ([MethodVerify]) and carried
// with the request. Every method of the conductor that a user can reach takes
// one and enforces it. The conductor that resolved it has signed it, and takes
// none that it has not: what else may speak over the queue, an agent that was
// taken over, cannot make one.
type Caller struct {
	User    string        `json:"user"` // name
	UserID  s4t.UserID    `json:"user_id"`
	Project s4t.ProjectID `json:"project"`
	Role    s4t.Role      `json:"role"`
	Token   s4t.TokenID   `json:"token"` // its public id, for the audit
	Until   int64         `json:"until"` // Unix seconds: the end of the signature's life
	Proof   string        `json:"proof"` // HMAC-SHA-256 over the fields above, hex
}

// CallerLifetime is how long a resolved caller may ask: longer than a request,
// with a long poll, takes.
const CallerLifetime = 5 * time.Minute

// Signed returns the caller as the holder of the conductors' key vouches for
// it, from now on.
func (c Caller) Signed(key ed25519.PrivateKey, now time.Time) Caller {
	c.Until = now.Add(CallerLifetime).Unix()
	c.Proof = c.proof(key)
	return c
}

// Check returns an error of kind Unauthenticated unless the holder of the key
// has vouched for the caller, not too long ago.
func (c Caller) Check(key ed25519.PrivateKey, now time.Time) error {
	const op, hint = "check who asks", "bring both sides to the same version"
	if !hmac.Equal([]byte(c.Proof), []byte(c.proof(key))) {
		return s4t.Errorf(s4t.Unauthenticated, op, hint, "the caller is not signed by a conductor")
	}
	if now.Unix() > c.Until {
		return s4t.Errorf(s4t.Unauthenticated, op, "ask again", "the caller was resolved too long ago")
	}
	return nil
}

// proof is what Proof has to be. The seed of the key is the secret: tickets
// are signatures with the key itself, and callers stay inside the cloud.
func (c Caller) proof(key ed25519.PrivateKey) string {
	mac := hmac.New(sha256.New, append([]byte("s4t-caller-1\x00"), key.Seed()...))
	c.Proof = ""
	mac.Write(Encode(c))
	return hex.EncodeToString(mac.Sum(nil))
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
	MethodSessionOpen   = "identity.open"   // SessionOpen -> s4t.Session
	MethodSessionGet    = "identity.who"    // SessionOf -> s4t.Session
	MethodSessionCode   = "identity.code"   // SessionOf -> s4t.LoginCode
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
	Source   string `json:"source,omitempty"`  // where it comes from: an IPv4 address, or an IPv6 /64, as the API sees it

	Expires time.Duration `json:"expires,omitempty"` // of the token, from now; 0: the cloud's default
}

// SessionOpen begins a browser's session, for a password or for a code.
type SessionOpen struct {
	Login  LoginRequest `json:"login,omitzero"` // Source also where there is a code
	Code   string       `json:"code,omitempty"` // of s4t.LoginCode
	Secret string       `json:"secret"`         // of its token, see [SessionSecret]: who asks made it, and keeps it
}

// SessionOf is about who asks, and the token in use.
type SessionOf struct {
	Caller Caller `json:"caller"`
}

// TokenPrefix begins the secret of every token.
const TokenPrefix = "s4t_"

// SessionSecret is the secret of the token of a browser's session. A browser keeps two
// halves of it, a cookie and what its scripts may read, and each alone is worth nothing:
// other servers on the same host are sent the cookie, and a script of another origin reads
// neither (RFC 6265, 8.5: cookies do not provide isolation by port).
func SessionSecret(cookie, half string) string {
	sum := sha256.Sum256([]byte("s4t-session-1\x00" + cookie + "\x00" + half))
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
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

	RecordTerminals *bool `json:"record_terminals,omitempty"`

	Quota map[s4t.QuotaKey]*int64 `json:"quota,omitempty"` // limits: 0 or more, or s4t.Unlimited; nil: the default
}

// UserCreate creates a user.
type UserCreate struct {
	Caller   Caller   `json:"caller"`
	Name     string   `json:"name"`
	Project  string   `json:"project"`
	Role     s4t.Role `json:"role"`
	Password string   `json:"password,omitempty"` // none: cannot log in, tokens only
}

// UserPassword gives a user a new password: the own one, or as a manager one
// of the project's, or as an admin anybody's.
type UserPassword struct {
	Caller   Caller `json:"caller"`
	Ref      string `json:"ref,omitempty"` // name or id; the caller by default
	Password string `json:"password"`
}

// TokenCreate creates a token that is never stronger than the caller's, and
// ends with it.
type TokenCreate struct {
	Caller  Caller        `json:"caller"`
	User    string        `json:"user,omitempty"`    // name or id; the caller by default, another's for a manager
	Project string        `json:"project,omitempty"` // name or id; the caller's by default
	Role    s4t.Role      `json:"role,omitempty"`    // the caller's by default
	Expires time.Duration `json:"expires,omitempty"` // from now; 0: with the caller's
}
