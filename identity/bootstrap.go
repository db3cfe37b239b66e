package identity

import (
	"context"
	"encoding/base64"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Names of what the first start makes.
const (
	DefaultProject = "default"
	AdminUser      = "admin"
)

// defaultBoards is the quota of boards of [DefaultProject]: of who runs the
// cloud, whose fleet is the whole one where there are no other projects.
const defaultBoards = 100_000

// First is what the first start made. Its secrets are shown nowhere else.
type First struct {
	Password string    // of [AdminUser]
	Token    s4t.Token // of [AdminUser] in [DefaultProject]; does not expire
}

// Bootstrap makes the project and the admin where there is no user yet, and
// gives their secrets to keep before they count: when keep returns an error,
// or the process dies before, nothing was made and the next start does it
// again. It reports whether it was the first start.
func (i *Identity) Bootstrap(ctx context.Context, keep func(First) error) (bool, error) {
	now := i.cfg.Now()
	done := false
	check := func(tx *store.Tx) error {
		users, err := tx.Users("", wire.Page{Limit: 1})
		done = len(users.Items) > 0
		return err
	}
	if err := i.cfg.Store.View(ctx, check); err != nil || done {
		return false, err
	}
	first := First{Password: base64.RawURLEncoding.EncodeToString(random(18))}
	hash, err := i.password.make(ctx, "make the first user", asker{known: true}, first.Password)
	if err != nil {
		return false, err
	}
	err = i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := check(tx); err != nil || done { // another process may have been first
			return err
		}
		p, err := tx.Project(DefaultProject)
		if s4t.KindOf(err) == s4t.NotFound {
			p = s4t.Project{ID: s4t.ProjectID(s4t.NewID()), Name: DefaultProject, Weight: 1, CreatedAt: now}
			if err = tx.InsertProject(p); err == nil {
				boards := int64(defaultBoards)
				err = tx.SetQuota(p.ID, s4t.QuotaBoards, &boards)
			}
		}
		if err != nil {
			return err
		}
		u := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: AdminUser, Project: p.ID, Role: s4t.RoleAdmin, CreatedAt: now}
		first.Token = newToken(u.Name, p.ID, u.Role, nil, now)
		if err := tx.InsertUser(u, hash); err != nil {
			return err
		}
		if err := tx.InsertToken(store.TokenRow{Token: first.Token, UserID: u.ID}, store.HashSecret(first.Token.Secret)); err != nil {
			return err
		}
		return keep(first)
	})
	if store.IsUnique(err, "projects.name") || store.IsUnique(err, "users.name") {
		return false, nil // another process was first, at the same time
	}
	return err == nil && !done, err
}

// AdminToken makes another token of [AdminUser] in its own project, for an
// operator whose admin context is lost.
func (i *Identity) AdminToken(ctx context.Context) (s4t.Token, error) {
	var token s4t.Token
	now := i.cfg.Now()
	err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		u, err := tx.User(AdminUser)
		if err != nil {
			return err
		}
		token = newToken(u.Name, u.Project, u.Role, nil, now)
		if err := tx.InsertToken(store.TokenRow{Token: token, UserID: u.ID}, store.HashSecret(token.Secret)); err != nil {
			return err
		}
		return tx.InsertAudit(s4t.AuditRecord{At: now, Project: u.Project, Action: "token.create", Object: string(token.ID), Name: string(u.Role), Outcome: "ok", Detail: "by the operator: admin.toml was missing"})
	})
	return token, err
}
