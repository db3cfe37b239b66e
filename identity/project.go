package identity

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// CreateProject makes a project. Admins only.
func (i *Identity) CreateProject(ctx context.Context, req wire.ProjectCreate) (s4t.Project, error) {
	op := fmt.Sprintf("create project %q", clip(req.Name))
	if err := s4t.ValidName("project", req.Name); err != nil {
		return s4t.Project{}, err
	}
	if req.Weight == 0 {
		req.Weight = 1
	}
	if err := s4t.ValidWeight(op, req.Weight); err != nil {
		return s4t.Project{}, err
	}
	p := s4t.Project{ID: s4t.ProjectID(s4t.NewID()), Name: req.Name, Weight: req.Weight, CreatedAt: i.cfg.Now()}
	err := i.audited(ctx, req.Caller, "project.create", req.Name, func(tx *store.Tx, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleAdmin); err != nil {
			return err
		}
		err := tx.InsertProject(p)
		if store.IsUnique(err, "projects.name") {
			return s4t.Errorf(s4t.Conflict, op, "choose another name", "a project of this name exists")
		}
		rec.Object = string(p.ID)
		return err
	})
	if err != nil {
		return s4t.Project{}, err
	}
	return p, nil
}

// ListProjects lists all projects for an admin, for others their own.
func (i *Identity) ListProjects(ctx context.Context, req wire.ListRequest) (list wire.List[s4t.Project], err error) {
	if err := allow(req.Caller, "list projects", s4t.RoleReader); err != nil {
		return list, err
	}
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if req.Caller.Role == s4t.RoleAdmin {
			list, err = tx.Projects(req.Page)
			return err
		}
		own, err := tx.Project(string(req.Caller.Project))
		if err != nil {
			return err
		}
		list, err = onlyOne(tx, own)
		return err
	})
	return list, err
}

// onlyOne is a list of one object, which has one page.
func onlyOne[T any](tx *store.Tx, v T) (wire.List[T], error) {
	last, err := tx.LastEvent()
	return wire.List[T]{Items: []T{v}, EventID: last}, err
}

// GetProject returns a project by name or id, with what it has and may have.
func (i *Identity) GetProject(ctx context.Context, req wire.RefRequest) (s4t.Project, error) {
	op := fmt.Sprintf("show project %q", clip(req.Ref))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Project{}, err
	}
	var p s4t.Project
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if p, err = findProject(tx, req.Caller, op, req.Ref); err == nil {
			p.Quota, err = tx.Quotas(p.ID)
		}
		return err
	})
	return p, err
}

// DeleteProject deletes a project that nothing belongs to any more, and the
// tokens for it. Admins only.
func (i *Identity) DeleteProject(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("delete project %q", clip(req.Ref))
	return wire.Empty{}, i.audited(ctx, req.Caller, "project.delete", clip(req.Ref), func(tx *store.Tx, rec *s4t.AuditRecord) error {
		p, err := findProject(tx, req.Caller, op, req.Ref)
		if err != nil {
			return err
		}
		if err := allow(req.Caller, op, s4t.RoleAdmin); err != nil {
			return err
		}
		rec.Object, rec.Name, op = string(p.ID), p.Name, fmt.Sprintf("delete project %q", p.Name)
		if p.ID == req.Caller.Project {
			return s4t.Errorf(s4t.Conflict, op, "use a token of another project", "it is the project of the token in use")
		}
		err = tx.DeleteProject(p.ID)
		if store.IsInUse(err) {
			return s4t.Errorf(s4t.Conflict, op, "delete its boards, bridges, offers and users first", "something still belongs to it")
		}
		return err
	})
}

// findProject returns a project by name or id; another's is NotFound.
func findProject(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Project, error) {
	p, err := tx.Project(ref)
	if err != nil || !caller.Sees(p.ID) {
		return s4t.Project{}, orNotFound(err, op, "see `s4t project list`", "project %q does not exist", clip(ref))
	}
	return p, nil
}
