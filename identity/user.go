package identity

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// CreateUser makes a user of a project: a manager of the own one, of no
// stronger role. Nobody but an admin makes an admin, who is the cloud's.
func (i *Identity) CreateUser(ctx context.Context, req wire.UserCreate) (s4t.User, error) {
	op := fmt.Sprintf("create user %q", clip(req.Name))
	if err := s4t.ValidName("user", req.Name); err != nil {
		return s4t.User{}, err
	}
	if !req.Role.Valid() {
		return s4t.User{}, s4t.NoRole(op, req.Role)
	}
	var hash string
	if req.Password != "" && req.Caller.Role.Covers(req.Role) && req.Caller.Role.Covers(s4t.RoleManager) { // others are refused, and cost nothing
		var err error
		if hash, err = i.password.make(ctx, op, accountOf(req.Caller), req.Password); err != nil {
			return s4t.User{}, err
		}
	}
	u := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: req.Name, Role: req.Role, CreatedAt: i.cfg.Now()}
	err := i.audited(ctx, req.Caller, "user.create", req.Name, func(tx *store.Tx, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
			return err
		}
		if err := allow(req.Caller, op+" with the role "+string(req.Role), req.Role); err != nil {
			return err
		}
		p, err := findProject(tx, req.Caller, op, orDefault(req.Project, string(req.Caller.Project)))
		if err != nil {
			return err
		}
		u.Project = p.ID
		rec.Project, rec.Detail = p.ID, "role "+string(u.Role)
		if err := tx.Claim(op, p.ID, s4t.QuotaUsers, 1); err != nil {
			return err
		}
		err = tx.InsertUser(u, hash)
		if store.IsUnique(err, "users.name") {
			return s4t.Errorf(s4t.Conflict, op, "choose another name", "a user of this name exists")
		}
		rec.Object = string(u.ID)
		return err
	})
	if err != nil {
		return s4t.User{}, err
	}
	return u, nil
}

// ListUsers lists all users for an admin, for a manager those of the project,
// for others themselves.
func (i *Identity) ListUsers(ctx context.Context, req wire.ListRequest) (list wire.List[s4t.User], err error) {
	if err := allow(req.Caller, "list users", s4t.RoleReader); err != nil {
		return list, err
	}
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if req.Caller.Role.Covers(s4t.RoleManager) {
			project := req.Caller.Project
			if req.Caller.Role == s4t.RoleAdmin {
				project = ""
			}
			list, err = tx.Users(project, req.Page)
			return err
		}
		self, err := tx.User(string(req.Caller.UserID))
		if err != nil {
			return err
		}
		list, err = onlyOne(tx, self)
		return err
	})
	return list, err
}

// SetPassword gives a user another password: an admin to any user, a manager
// to those of the project, others to themselves. With a token that is weaker
// than its user nobody does, since who knows the password has all that the
// user may.
func (i *Identity) SetPassword(ctx context.Context, req wire.UserPassword) (wire.Empty, error) {
	ref := orDefault(req.Ref, string(req.Caller.UserID))
	name := orDefault(clip(req.Ref), req.Caller.User)
	op := fmt.Sprintf("change the password of user %q", name)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.Empty{}, err
	}
	own := ref == string(req.Caller.UserID) || ref == req.Caller.User
	var hash string
	if own || req.Caller.Role.Covers(s4t.RoleManager) { // others are refused, and cost nothing
		var err error
		if hash, err = i.password.make(ctx, op, accountOf(req.Caller), req.Password); err != nil {
			return wire.Empty{}, err
		}
	}
	return wire.Empty{}, i.audited(ctx, req.Caller, "user.password", name, func(tx *store.Tx, rec *s4t.AuditRecord) error {
		var u s4t.User
		var err error
		if own {
			if u, err = tx.User(ref); err != nil {
				return orNotFound(err, op, "see `s4t user list`", "user %q does not exist", name)
			}
		} else if u, err = findUser(tx, req.Caller, op, ref); err != nil {
			return err
		}
		rec.Object, rec.Name = string(u.ID), u.Name
		if own && !req.Caller.Role.Covers(u.Role) {
			return s4t.Errorf(s4t.Forbidden, op, "log in with `s4t login`", "it needs a token of the role %s, this one has %s", u.Role, req.Caller.Role)
		}
		if err := allow(req.Caller, op, u.Role); err != nil {
			return err
		}
		return tx.SetUserPassword(u.ID, hash)
	})
}

// DeleteUser deletes a user with all tokens of the user, at once: a manager
// those of the project. The last admin stays.
func (i *Identity) DeleteUser(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("delete user %q", clip(req.Ref))
	return wire.Empty{}, i.audited(ctx, req.Caller, "user.delete", clip(req.Ref), func(tx *store.Tx, rec *s4t.AuditRecord) error {
		u, err := findUser(tx, req.Caller, op, req.Ref)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, op = string(u.ID), u.Name, fmt.Sprintf("delete user %q", u.Name)
		if err := allow(req.Caller, op, u.Role); err != nil {
			return err
		}
		if u.Role == s4t.RoleAdmin {
			admins, err := tx.Admins() // and nobody else deletes another meanwhile
			if err != nil {
				return err
			}
			if len(admins) == 1 && admins[0] == u.ID {
				return s4t.Errorf(s4t.Conflict, op, "make another admin first", "it is the last admin")
			}
		}
		return tx.DeleteUser(u.ID)
	})
}

// findUser returns a user by name or id, for a caller who manages users;
// another project's is NotFound.
func findUser(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.User, error) {
	if err := allow(caller, op, s4t.RoleManager); err != nil {
		return s4t.User{}, err
	}
	u, err := tx.User(ref)
	if err != nil || !caller.Sees(u.Project) {
		return s4t.User{}, orNotFound(err, op, "see `s4t user list`", "user %q does not exist", clip(ref))
	}
	return u, nil
}

// accountOf is on whose account a caller's hashes go.
func accountOf(caller wire.Caller) asker { return asker{"project " + string(caller.Project), true} }
