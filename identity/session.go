package identity

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A browser's session is a token whose secret the browser has in two halves
// (wire.SessionSecret), and that ends when nobody uses it. Role, project, revocation and
// lists are those of tokens.

// useNoted is how old the noted use of a session is when the next one is noted: requests come
// by the second, and a write of each would be the database's only work.
const useNoted = s4t.SessionIdle / 72

// OpenSession begins a session: for a password as [Identity.Login], or for a code as who asked
// for it, for as long as that one's token lasts. A code works once.
func (i *Identity) OpenSession(ctx context.Context, req wire.SessionOpen) (s4t.Session, error) {
	const op = "begin a session"
	if !isSecret(req.Secret) {
		return s4t.Session{}, s4t.Errorf(s4t.Invalid, op, "", "its secret is none")
	}
	if req.Code != "" {
		return i.openByCode(ctx, op, req)
	}
	l, err := i.prove(ctx, req.Login)
	if err != nil {
		return s4t.Session{}, err
	}
	t := i.newSession(l.user.Name, l.project.ID, l.user.Role, req.Secret)
	expires := t.CreatedAt.Add(s4t.SessionLifetime)
	t.ExpiresAt = &expires
	l.rec.Action = "session.create"
	if err := i.keepLogin(ctx, l, t); err != nil {
		return s4t.Session{}, err
	}
	return sessionOf(t, l.project), nil
}

// newSession makes the token of a session; who asked for it has its secret.
func (i *Identity) newSession(user string, project s4t.ProjectID, role s4t.Role, secret string) store.TokenRow {
	t := store.TokenRow{Token: newToken(user, project, role, nil, i.cfg.Now()), UserRole: role, Idle: s4t.SessionIdle}
	t.Secret, t.Session = secret, true
	return t
}

func (i *Identity) openByCode(ctx context.Context, op string, req wire.SessionOpen) (session s4t.Session, err error) {
	return session, i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		by, err := tx.TakeLoginCode(store.HashSecret(req.Code), i.cfg.Now())
		if s4t.KindOf(err) == s4t.NotFound || err == nil && by.ExpiresAt != nil && !i.cfg.Now().Before(*by.ExpiresAt) {
			return s4t.Errorf(s4t.Unauthenticated, op, "ask for a new one, or log in with a password", "the code was used, or has expired")
		}
		if err == nil {
			err = mayMake(op, by)
		}
		if err != nil {
			return err
		}
		p, err := tx.Project(string(by.Project))
		if err != nil {
			return err
		}
		t := i.newSession(by.User, by.Project, by.Role, req.Secret)
		t.UserID, t.UserRole = by.UserID, by.UserRole
		if t.Token, err = i.insertMade(tx, op, by, t, s4t.SessionLifetime); err != nil {
			return err
		}
		session = sessionOf(t, p)
		rec := s4t.AuditRecord{At: t.CreatedAt, User: by.User, Project: by.Project, Action: "session.create", Object: string(t.ID), Outcome: "ok", Detail: "by a code"}
		if req.Login.Source != "" {
			rec.Detail += " from " + req.Login.Source
		}
		return tx.InsertAudit(rec)
	})
}

// GetSession says who asks, and with which token.
func (i *Identity) GetSession(ctx context.Context, req wire.SessionOf) (session s4t.Session, err error) {
	const op = "show the session"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return session, err
	}
	return session, i.cfg.Store.View(ctx, func(tx *store.Tx) error {
		t, err := tx.Token(req.Caller.Token)
		if s4t.KindOf(err) == s4t.NotFound {
			return tokenEnded(op)
		}
		if err != nil {
			return err
		}
		p, err := tx.Project(string(t.Project))
		session = sessionOf(t, p)
		return err
	})
}

// sessionOf is what the user of a token of a project is told of it.
func sessionOf(t store.TokenRow, p s4t.Project) s4t.Session {
	return s4t.Session{User: t.User, Role: t.Role.Weaker(t.UserRole), Project: p.ID, ProjectName: p.Name, Token: t.ID, ExpiresAt: t.ExpiresAt, Browser: t.Session}
}

// CreateLoginCode makes a code that begins a session as the caller, once, within
// [s4t.LoginCodeLifetime]; the one that the same token made before counts no more.
func (i *Identity) CreateLoginCode(ctx context.Context, req wire.SessionOf) (s4t.LoginCode, error) {
	const op = "make a code that logs in"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.LoginCode{}, err
	}
	now := i.cfg.Now()
	code := s4t.LoginCode{Code: store.NewSecret()[len(wire.TokenPrefix):], ExpiresAt: now.Add(s4t.LoginCodeLifetime)}
	err := i.audited(ctx, req.Caller, "session.code", "", func(tx *store.Tx, rec *s4t.AuditRecord) error {
		t, err := maker(tx, op, req.Caller.Token)
		if err != nil {
			return err
		}
		rec.Object = string(t.ID)
		return tx.InsertLoginCode(t.ID, store.HashSecret(code.Code), now, code.ExpiresAt)
	})
	if err != nil {
		return s4t.LoginCode{}, err
	}
	return code, nil
}

// useSession refuses a session that nobody has used for too long, and notes this use.
func (i *Identity) useSession(ctx context.Context, op string, t store.TokenRow) error {
	now := i.cfg.Now()
	unused := now.Sub(*t.UsedAt)
	if unused >= t.Idle {
		return s4t.Errorf(s4t.Unauthenticated, op, "log in again", "the session was not used for %v", t.Idle)
	}
	if unused < useNoted {
		return nil
	}
	if err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.UseToken(t.ID, now) }); err != nil {
		i.cfg.Log.Info("the use of a session is noted later", "token", t.ID, "err", err)
	}
	return nil
}
