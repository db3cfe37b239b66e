package store

import (
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const projectColumns = `id, name, weight, created_at, record_terminals`

func scanProject(s scanner) (s4t.Project, error) {
	var p s4t.Project
	var created int64
	err := s.Scan(&p.ID, &p.Name, &p.Weight, &created, flag(&p.RecordTerminals))
	p.CreatedAt = fromMicros(created)
	return p, err
}

// InsertProject adds a project. A name that exists is a Conflict on
// projects.name.
func (tx *Tx) InsertProject(p s4t.Project) error {
	_, err := tx.exec(fmt.Sprintf("create project %q", p.Name),
		`INSERT INTO projects (`+projectColumns+`) VALUES (?, ?, ?, ?, ?)`, p.ID, p.Name, p.Weight, micros(p.CreatedAt), bit(p.RecordTerminals))
	return err
}

// Project returns the project with this name or id.
func (tx *Tx) Project(ref string) (s4t.Project, error) {
	return one(tx, fmt.Sprintf("find project %q", ref), scanProject,
		`SELECT `+projectColumns+` FROM projects WHERE id = ? OR name = ?`, ref, ref)
}

var projectsByName = order[s4t.Project]{"name", func(p s4t.Project) []any { return []any{p.Name} }}

// Projects returns a page of the projects, by name.
func (tx *Tx) Projects(p wire.Page) (wire.List[s4t.Project], error) {
	return page(tx, "list projects", p, projectsByName, scanProject, `SELECT `+projectColumns+` FROM projects`, filter{})
}

// SetWeight changes a project's weight.
func (tx *Tx) SetWeight(id s4t.ProjectID, weight int) error {
	_, err := tx.exec(fmt.Sprintf("set the weight of project %q", id), `UPDATE projects SET weight = ? WHERE id = ?`, weight, id)
	return err
}

// SetRecordTerminals changes whether the terminals of a project's boards are recorded.
func (tx *Tx) SetRecordTerminals(id s4t.ProjectID, on bool) error {
	_, err := tx.exec(fmt.Sprintf("set whether project %q records terminals", id), `UPDATE projects SET record_terminals = ? WHERE id = ?`, bit(on), id)
	return err
}

// DeleteProject deletes a project, the tokens for it and its leases that are over,
// with offers that are to nobody else. A project that
// something belongs to is a Conflict for which [IsInUse] is true.
func (tx *Tx) DeleteProject(id s4t.ProjectID) error {
	op := fmt.Sprintf("delete project %q", id)
	over, err := many(tx, op, value[s4t.LeaseID], `SELECT id FROM board_leases WHERE project = ? AND status NOT IN ('pending', 'active')`, id)
	if err == nil {
		err = tx.forgetLeases(over)
	}
	if err == nil {
		err = tx.dropOffersTo(op, id)
	}
	if err == nil {
		_, err = tx.exec(op, `DELETE FROM projects WHERE id = ?`, id)
	}
	return err
}
