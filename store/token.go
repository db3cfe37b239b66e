package store

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// A token's secret is "s4t_" and 32 random bytes in base64url. What is stored
// is its SHA-256: a secret of 256 bits needs no slow hash.
const (
	SecretLen   = len(wire.TokenPrefix) + (secretBytes*8+5)/6
	secretBytes = 32
)

// NewSecret makes the secret of a token.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // it never fails
	return wire.TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// HashSecret is what is stored of a secret.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// TokenRow is a token with the id of its user. Its Secret is empty: only a
// hash of it is kept.
type TokenRow struct {
	s4t.Token
	UserID   s4t.UserID
	UserRole s4t.Role // of the user now; a token is never stronger

	Injection string // a plugin on a board that it is for, and ends with; empty: none

	Depth  int    // how many made it, one by the other
	Login  bool   // a login gave it,
	Source string // from here; see wire.LoginRequest

	Idle time.Duration // not used for so long, it ends; 0: that is no matter, and no use is noted
}

const selectTokens = `SELECT t.id, u.name, t.project, t.role, t.expires_at, t.created_at, u.id, u.role, COALESCE(t.parent, ''), COALESCE(t.board_plugin, ''), t.depth, t.login, t.source, t.idle, t.used_at
	FROM tokens t JOIN users u ON u.id = t.user_id`

func scanToken(s scanner) (TokenRow, error) {
	var t TokenRow
	var created, idle, used int64
	var expires sql.NullInt64
	err := s.Scan(&t.ID, &t.User, &t.Project, &t.Role, &expires, &created, &t.UserID, &t.UserRole, &t.Parent, &t.Injection, &t.Depth, flag(&t.Login), &t.Source, &idle, &used)
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicrosOrNull(expires)
	if t.Idle = time.Duration(idle) * time.Microsecond; t.Idle > 0 {
		at := fromMicros(used)
		t.Session, t.UsedAt = true, &at
	}
	return t, err
}

// InsertToken adds a token of a user; secretHash is the SHA-256 of its secret
// in hex. A parent, or a plugin on a board, that has gone is a Conflict for which
// [IsInUse] is true.
func (tx *Tx) InsertToken(t TokenRow, secretHash string) error {
	_, err := tx.exec("create a token",
		`INSERT INTO tokens (id, secret_hash, user_id, project, role, expires_at, created_at, parent, board_plugin, depth, login, source, idle, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, secretHash, t.UserID, t.Project, t.Role, microsOrNull(t.ExpiresAt), micros(t.CreatedAt), textOrNull(string(t.Parent)), textOrNull(t.Injection), t.Depth, bit(t.Login), t.Source,
		t.Idle.Microseconds(), micros(t.CreatedAt))
	return err
}

// UseToken notes that a token was used at a time, unless a later use is noted.
func (tx *Tx) UseToken(id s4t.TokenID, at time.Time) error {
	_, err := tx.exec("note the use of a session", `UPDATE tokens SET used_at = ? WHERE id = ? AND used_at < ?`, micros(at), id, micros(at))
	return err
}

// InsertLoginCode adds what logs a browser in as a token, in place of what did so before;
// codeHash is its SHA-256 in hex. Those that have expired at now are forgotten.
func (tx *Tx) InsertLoginCode(token s4t.TokenID, codeHash string, now, expires time.Time) error {
	const op = "make a code that logs in"
	if _, err := tx.exec(op, `DELETE FROM login_codes WHERE token = ? OR expires_at <= ?`, token, micros(now)); err != nil {
		return err
	}
	_, err := tx.exec(op, `INSERT INTO login_codes (code_hash, token, expires_at) VALUES (?, ?, ?)`, codeHash, token, micros(expires))
	return err
}

// TakeLoginCode returns the token that a code logs in as, which it does once. One that does
// not exist, or has expired at now, is NotFound.
func (tx *Tx) TakeLoginCode(codeHash string, now time.Time) (TokenRow, error) {
	id, err := one(tx, "find a code that logs in", value[s4t.TokenID], `DELETE FROM login_codes WHERE code_hash = ? AND expires_at > ? RETURNING token`, codeHash, micros(now))
	if err != nil {
		return TokenRow{}, err
	}
	return tx.Token(id)
}

// TrimInjectionTokens deletes the tokens of a plugin on a board, but for the keep
// newest.
func (tx *Tx) TrimInjectionTokens(injection string, keep int) error {
	_, err := tx.exec("forget old tokens of a plugin", `DELETE FROM tokens WHERE id IN
		(SELECT id FROM tokens WHERE board_plugin = ? ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?)`, injection, math.MaxInt32, keep)
	return err
}

// LoggedInFrom reports whether a login of a user came from a source, as far
// back as its token is kept.
func (tx *Tx) LoggedInFrom(user s4t.UserID, source string) (bool, error) {
	_, err := one(tx, "look for earlier logins", value[int], `SELECT 1 FROM tokens WHERE user_id = ? AND source = ? AND login = 1 LIMIT 1`, user, source)
	if s4t.KindOf(err) == s4t.NotFound {
		return false, nil
	}
	return err == nil, err
}

// TrimLogins deletes the tokens that logins of a user to a project gave, but
// for the newest one, whose id this is, and the keep of the others that end
// last.
func (tx *Tx) TrimLogins(user s4t.UserID, project s4t.ProjectID, newest s4t.TokenID, keep int) error {
	_, err := tx.exec("forget old logins", `DELETE FROM tokens WHERE id IN
		(SELECT id FROM tokens WHERE user_id = ? AND project = ? AND login = 1 AND id <> ? ORDER BY expires_at DESC, created_at DESC, id DESC LIMIT ? OFFSET ?)`,
		user, project, newest, math.MaxInt32, keep)
	return err
}

// TokenByHash returns the token whose secret has this hash, expired or not.
func (tx *Tx) TokenByHash(secretHash string) (TokenRow, error) {
	return one(tx, "find a token", scanToken, selectTokens+` WHERE t.secret_hash = ?`, secretHash)
}

// Token returns the token with this id.
func (tx *Tx) Token(id s4t.TokenID) (TokenRow, error) {
	return one(tx, fmt.Sprintf("find token %q", id), scanToken, selectTokens+` WHERE t.id = ?`, id)
}

// TokenFilter chooses tokens; what is empty does not filter.
type TokenFilter struct {
	User    s4t.UserID
	Project s4t.ProjectID
	Roles   []s4t.Role // one of them
}

// Has reports whether the filter lets a token through.
func (f TokenFilter) Has(t TokenRow) bool {
	return (f.User == "" || f.User == t.UserID) && (f.Project == "" || f.Project == t.Project) && (len(f.Roles) == 0 || slices.Contains(f.Roles, t.Role))
}

var tokensByAge = order[TokenRow]{"t.created_at, t.id", func(t TokenRow) []any { return []any{micros(t.CreatedAt), string(t.ID)} }}

// Tokens returns a page of the tokens that match, oldest first.
func (tx *Tx) Tokens(chosen TokenFilter, p wire.Page) (wire.List[TokenRow], error) {
	f := equal(equal(filter{}, "t.user_id", chosen.User), "t.project", chosen.Project)
	if n := len(chosen.Roles); n > 0 {
		args := make([]any, n)
		for i, r := range chosen.Roles {
			args[i] = r
		}
		f = f.and("t.role IN (?"+strings.Repeat(", ?", n-1)+")", args...)
	}
	return page(tx, "list tokens", p, tokensByAge, scanToken, selectTokens, f)
}

// DeleteToken deletes a token with all that it made, and those made, and so on.
func (tx *Tx) DeleteToken(id s4t.TokenID) error {
	_, err := tx.exec(fmt.Sprintf("revoke token %q", id), `DELETE FROM tokens WHERE id = ?`, id)
	return err
}

// DeleteExpiredTokens deletes the tokens that expired before a time. What they
// made expired no later.
func (tx *Tx) DeleteExpiredTokens(before time.Time) error {
	_, err := tx.exec("delete expired tokens", `DELETE FROM tokens WHERE expires_at < ?`, micros(before))
	return err
}

// DeleteExpiredTokensOf does it for one project.
func (tx *Tx) DeleteExpiredTokensOf(project s4t.ProjectID, before time.Time) error {
	_, err := tx.exec("delete expired tokens", `DELETE FROM tokens WHERE project = ? AND expires_at < ?`, project, micros(before))
	return err
}
