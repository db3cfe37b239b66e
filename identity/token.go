package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A token's secret is "s4t_" and 32 random bytes in base64url. What is stored
// is its SHA-256: a secret of 256 bits needs no slow hash.
const (
	secretPrefix = "s4t_"
	secretBytes  = 32
	secretLen    = len(secretPrefix) + (secretBytes*8+5)/6
)

// newToken makes a token with a fresh secret.
func newToken(user string, project s4t.ProjectID, role s4t.Role, expires *time.Time, now time.Time) s4t.Token {
	return s4t.Token{
		ID:        s4t.TokenID(s4t.NewID()),
		Secret:    secretPrefix + base64.RawURLEncoding.EncodeToString(random(secretBytes)),
		User:      user,
		Project:   project,
		Role:      role,
		ExpiresAt: expires,
		CreatedAt: now,
	}
}

// secretHash is what is stored of a secret.
func secretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Verify resolves a token's secret to the caller it stands for. Revocation and
// expiry hold from the next call on; a user's token is never stronger than the
// user is now.
func (i *Identity) Verify(ctx context.Context, req wire.VerifyRequest) (wire.Caller, error) {
	const op = "check the token"
	unknown := s4t.Errorf(s4t.Unauthenticated, op, "log in again with `s4t login`, or ask for a new token", "it is not valid")
	if len(req.Secret) != secretLen || !strings.HasPrefix(req.Secret, secretPrefix) {
		return wire.Caller{}, unknown
	}
	var t store.TokenRow
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		t, err = tx.TokenByHash(secretHash(req.Secret))
		return err
	})
	switch {
	case s4t.KindOf(err) == s4t.NotFound:
		return wire.Caller{}, unknown
	case err != nil:
		return wire.Caller{}, err
	case t.ExpiresAt != nil && !i.cfg.Now().Before(*t.ExpiresAt):
		return wire.Caller{}, s4t.Errorf(s4t.Unauthenticated, op, "log in again with `s4t login`, or ask for a new token", "it has expired")
	}
	role := t.Role
	if !t.UserRole.Covers(role) {
		role = t.UserRole
	}
	caller := wire.Caller{User: t.User, UserID: t.UserID, Project: t.Project, Role: role, Token: t.ID}
	return caller.Signed(i.cfg.Key, i.cfg.Now()), nil
}

// CreateToken makes a token of the caller's user: of no stronger role than the
// caller's, and in the caller's project unless the caller is an admin.
func (i *Identity) CreateToken(ctx context.Context, req wire.TokenCreate) (s4t.Token, error) {
	const op = "create a token"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Token{}, err
	}
	role := req.Role
	if role == "" {
		role = req.Caller.Role
	}
	switch {
	case !role.Valid():
		return s4t.Token{}, s4t.Errorf(s4t.Invalid, op, "use admin, member or reader", "there is no role %q", clip(string(role)))
	case req.Expires < 0 || req.Expires > 100*365*24*time.Hour:
		return s4t.Token{}, s4t.Errorf(s4t.Invalid, op, "give a time from now, like 24h; none for a token that does not expire", "it would expire %s from now", req.Expires)
	}
	now := i.cfg.Now()
	var token s4t.Token
	err := i.audited(ctx, req.Caller, "token.create", string(role), func(tx *store.Tx, rec *s4t.AuditRecord) error {
		if !req.Caller.Role.Covers(role) {
			return s4t.Errorf(s4t.Forbidden, op, "create one of your own role or a weaker one", "the role %s is stronger than %s", role, req.Caller.Role)
		}
		project, err := findProject(tx, req.Caller, op, orDefault(req.Project, string(req.Caller.Project)))
		if err != nil {
			return err
		}
		var expires *time.Time
		if req.Expires > 0 {
			at := now.Add(req.Expires)
			expires = &at
		}
		token = newToken(req.Caller.User, project.ID, role, expires, now)
		rec.Object, rec.Project = string(token.ID), project.ID
		return tx.InsertToken(token, req.Caller.UserID, secretHash(token.Secret))
	})
	if err != nil {
		return s4t.Token{}, err
	}
	return token, nil
}

// ListTokens lists tokens, without secrets: for an admin all, for others those
// of their own user and project that are not stronger than the one they use.
func (i *Identity) ListTokens(ctx context.Context, req wire.ListRequest) (list wire.List[s4t.Token], err error) {
	if err := allow(req.Caller, "list tokens", s4t.RoleReader); err != nil {
		return list, err
	}
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Tokens(manageable(req.Caller), req.Page)
		list = wire.List[s4t.Token]{Items: []s4t.Token{}, Next: rows.Next, EventID: rows.EventID}
		for _, t := range rows.Items {
			list.Items = append(list.Items, t.Token)
		}
		return err
	})
	return list, err
}

// RevokeToken ends a token at once. Ref is its id.
func (i *Identity) RevokeToken(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("revoke token %q", clip(req.Ref))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.Empty{}, err
	}
	return wire.Empty{}, i.audited(ctx, req.Caller, "token.revoke", "", func(tx *store.Tx, rec *s4t.AuditRecord) error {
		t, err := tx.Token(s4t.TokenID(req.Ref))
		if err != nil || !manageable(req.Caller).Has(t) {
			return orNotFound(err, op, "see `s4t token list`", "there is no such token")
		}
		rec.Object, rec.Name, rec.Project = string(t.ID), t.User, t.Project
		return tx.DeleteToken(t.ID)
	})
}

// manageable says which tokens a caller sees and may revoke.
func manageable(caller wire.Caller) store.TokenFilter {
	if caller.Role == s4t.RoleAdmin {
		return store.TokenFilter{}
	}
	f := store.TokenFilter{User: caller.UserID, Project: caller.Project}
	for _, r := range []s4t.Role{s4t.RoleReader, s4t.RoleMember, s4t.RoleAdmin} {
		if caller.Role.Covers(r) {
			f.Roles = append(f.Roles, r)
		}
	}
	return f
}

// orNotFound is err, unless err is nil or says NotFound: then it is a NotFound
// with these words.
func orNotFound(err error, op, hint, format string, args ...any) error {
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return err
	}
	return s4t.Errorf(s4t.NotFound, op, hint, format, args...)
}
