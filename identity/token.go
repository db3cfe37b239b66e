package identity

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// newToken makes a token with a fresh secret.
func newToken(user string, project s4t.ProjectID, role s4t.Role, expires *time.Time, now time.Time) s4t.Token {
	return s4t.Token{
		ID:        s4t.TokenID(s4t.NewID()),
		Secret:    store.NewSecret(),
		User:      user,
		Project:   project,
		Role:      role,
		ExpiresAt: expires,
		CreatedAt: now,
	}
}

// Verify resolves a token's secret to the caller it stands for. Revocation and
// expiry hold from the next call on; a user's token is never stronger than the
// user is now.
func (i *Identity) Verify(ctx context.Context, req wire.VerifyRequest) (wire.Caller, error) {
	const op = "check the token"
	unknown := s4t.Errorf(s4t.Unauthenticated, op, "log in again with `s4t login`, or ask for a new token", "it is not valid")
	if !isSecret(req.Secret) {
		return wire.Caller{}, unknown
	}
	var t store.TokenRow
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		t, err = tx.TokenByHash(store.HashSecret(req.Secret))
		return err
	})
	switch {
	case s4t.KindOf(err) == s4t.NotFound:
		return wire.Caller{}, unknown
	case err != nil:
		return wire.Caller{}, err
	case t.ExpiresAt != nil && !i.cfg.Now().Before(*t.ExpiresAt):
		return wire.Caller{}, s4t.Errorf(s4t.Unauthenticated, op, "log in again with `s4t login`, or ask for a new token", "it has expired")
	case t.Session:
		if err := i.useSession(ctx, op, t); err != nil {
			return wire.Caller{}, err
		}
	}
	caller := wire.Caller{User: t.User, UserID: t.UserID, Project: t.Project, Role: t.Role.Weaker(t.UserRole), Token: t.ID}
	return caller.Signed(i.cfg.Key, i.cfg.Now()), nil
}

// isSecret reports whether a text can be a token's secret.
func isSecret(text string) bool {
	return len(text) == store.SecretLen && strings.HasPrefix(text, wire.TokenPrefix)
}

// maxDepth is how many tokens may have made one, one by the other: SQLite ends
// so many at once, and a thousand it does not.
const maxDepth = 16

// CreateToken makes a token of no stronger role than the caller's, in the
// caller's project unless the caller is an admin: of the caller's user, or, for
// a manager, of another one of the project. It ends with the caller's, at the
// latest, and is revoked with it.
func (i *Identity) CreateToken(ctx context.Context, req wire.TokenCreate) (s4t.Token, error) {
	const op = "create a token"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Token{}, err
	}
	if req.Role != "" && !req.Role.Valid() {
		return s4t.Token{}, s4t.NoRole(op, req.Role)
	}
	if err := validLifetime(op, req.Expires); err != nil {
		return s4t.Token{}, err
	}
	var token s4t.Token
	err := i.audited(ctx, req.Caller, "token.create", string(req.Role), func(tx *store.Tx, rec *s4t.AuditRecord) error {
		t := store.TokenRow{UserID: req.Caller.UserID}
		user, most, project := req.Caller.User, req.Caller.Role, req.Caller.Project
		if ref := req.User; ref != "" && ref != req.Caller.User && ref != string(req.Caller.UserID) {
			u, err := findUser(tx, req.Caller, op, ref)
			if err != nil {
				return err
			}
			if err := allow(req.Caller, op, u.Role); err != nil {
				return err
			}
			if u.Role != s4t.RoleAdmin && req.Project != "" {
				if p, err := findProject(tx, req.Caller, op, req.Project); err != nil {
					return err
				} else if p.ID != u.Project {
					return s4t.Errorf(s4t.Conflict, op, "leave the project out to use the user's own", "user %q is of another project than %q", u.Name, p.Name)
				}
			}
			t.UserID, user, most, project = u.ID, u.Name, u.Role, u.Project
		}
		role := s4t.Role(orDefault(string(req.Role), string(most)))
		rec.Name = string(role)
		if !most.Covers(role) {
			return s4t.Errorf(s4t.Forbidden, op, "create one of that role or a weaker one", "the role %s is stronger than %s", role, most)
		}
		p, err := findProject(tx, req.Caller, op, orDefault(req.Project, string(project)))
		if err != nil {
			return err
		}
		parent, err := maker(tx, op, req.Caller.Token)
		if err != nil {
			return err
		}
		t.Token = newToken(user, p.ID, role, nil, i.cfg.Now())
		if token, err = i.insertMade(tx, op, parent, t, req.Expires); err != nil {
			return err
		}
		rec.Object, rec.Project = string(token.ID), p.ID
		if user != req.Caller.User {
			rec.Detail = "for " + user
		}
		return nil
	})
	if err != nil {
		return s4t.Token{}, err
	}
	return token, nil
}

// tokenEnded is the error of who uses a token that has gone just now.
func tokenEnded(op string) error {
	return s4t.Errorf(s4t.Unauthenticated, op, "log in again with `s4t login`", "the token in use has ended")
}

// maker returns the token that is to make another one, where it may.
func maker(tx *store.Tx, op string, id s4t.TokenID) (store.TokenRow, error) {
	t, err := tx.Token(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return t, tokenEnded(op)
	}
	if err == nil {
		err = mayMake(op, t)
	}
	return t, err
}

// mayMake refuses a token that too many made, one by the other.
func mayMake(op string, t store.TokenRow) error {
	if t.Depth >= maxDepth {
		return s4t.Errorf(s4t.Conflict, op, "log in with `s4t login`, and use that token", "%d tokens made this one, one by the other", t.Depth)
	}
	return nil
}

// insertMade adds a token that another one makes, which it ends with: after lifetime, where that
// is not 0, or with the other at the latest.
func (i *Identity) insertMade(tx *store.Tx, op string, by, t store.TokenRow, lifetime time.Duration) (s4t.Token, error) {
	t.ExpiresAt = by.ExpiresAt
	if at := t.CreatedAt.Add(lifetime); lifetime > 0 && (t.ExpiresAt == nil || at.Before(*t.ExpiresAt)) {
		t.ExpiresAt = &at
	}
	t.Parent, t.Depth = by.ID, by.Depth+1
	if err := i.claimToken(tx, op, t.Project); err != nil {
		return s4t.Token{}, err
	}
	err := tx.InsertToken(t, store.HashSecret(t.Secret))
	if store.IsInUse(err) {
		err = tokenEnded(op)
	}
	return t.Token, err
}

// claimToken asks for one more token of a project. Those that have expired make
// room.
func (i *Identity) claimToken(tx *store.Tx, op string, project s4t.ProjectID) error {
	err := tx.Claim(op, project, s4t.QuotaTokens, 1)
	if s4t.KindOf(err) != s4t.Conflict {
		return err
	}
	if err := tx.DeleteExpiredTokensOf(project, i.cfg.Now()); err != nil {
		return err
	}
	return tx.Claim(op, project, s4t.QuotaTokens, 1)
}

// ListTokens lists tokens, without secrets; see manageable.
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

// RevokeToken ends a token at once, and all that it made. Ref is its id.
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

// manageable says which tokens a caller sees and may revoke: an admin all, a
// manager those for the project, others their own for it; none that is
// stronger than the one in use.
func manageable(caller wire.Caller) store.TokenFilter {
	if caller.Role == s4t.RoleAdmin {
		return store.TokenFilter{}
	}
	f := store.TokenFilter{Project: caller.Project}
	if !caller.Role.Covers(s4t.RoleManager) {
		f.User = caller.UserID
	}
	for _, r := range s4t.Roles {
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
