package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
	"github.com/stack4things/s4t/wire"
)

const fleetColumns = `id, project, name, labels, near, within_km, created_at`

func scanFleet(s scanner) (f s4t.Fleet, err error) {
	var labels, near string
	var created int64
	if err = s.Scan(&f.ID, &f.Project, &f.Name, &labels, &near, &f.Within, &created); err != nil {
		return f, err
	}
	f.CreatedAt = fromMicros(created)
	if err = fromJSON(labels, &f.Labels); err == nil {
		err = fromJSON(near, &f.Near)
	}
	return f, err
}

// ruled are the values of a fleet that may change.
func ruled(f s4t.Fleet) []any {
	near := ""
	if f.Near != nil {
		near = jsonText(f.Near)
	}
	return []any{f.Name, jsonText(f.Labels), near, f.Within}
}

// InsertFleet adds a fleet with who is named. A name that the project has is a
// Conflict on fleets.name.
func (tx *Tx) InsertFleet(f s4t.Fleet) error {
	if _, err := tx.exec(fmt.Sprintf("create fleet %q", f.Name), `INSERT INTO fleets (name, labels, near, within_km, id, project, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		append(ruled(f), f.ID, f.Project, micros(f.CreatedAt))...); err != nil {
		return err
	}
	return tx.nameFleetBoards(f)
}

// UpdateFleet writes what may change of a fleet: name, rule and who is named.
func (tx *Tx) UpdateFleet(f s4t.Fleet) error {
	op := fmt.Sprintf("update fleet %q", f.Name)
	if _, err := tx.exec(op, `UPDATE fleets SET name = ?, labels = ?, near = ?, within_km = ? WHERE id = ?`, append(ruled(f), f.ID)...); err != nil {
		return err
	}
	if _, err := tx.exec(op, `DELETE FROM fleet_boards WHERE fleet = ?`, f.ID); err != nil {
		return err
	}
	return tx.nameFleetBoards(f)
}

func (tx *Tx) nameFleetBoards(f s4t.Fleet) error {
	return insert(tx, fmt.Sprintf("name the boards of fleet %q", f.Name), `INSERT INTO fleet_boards (fleet, board) VALUES `, f.Named, func(b s4t.BoardID) []any { return []any{f.ID, b} }, "")
}

// DeleteFleet deletes a fleet; its boards stay.
func (tx *Tx) DeleteFleet(id s4t.FleetID) error {
	_, err := tx.exec(fmt.Sprintf("delete fleet %q", id), `DELETE FROM fleets WHERE id = ?`, id)
	return err
}

// FleetByID returns the fleet with this id, without its members.
func (tx *Tx) FleetByID(id s4t.FleetID) (s4t.Fleet, error) {
	return one(tx, fmt.Sprintf("find fleet %q", id), scanFleet, `SELECT `+fleetColumns+` FROM fleets WHERE id = ?`, id)
}

// FleetsNamed returns the fleets with a name: of a project, or with "" of every
// one; without their members.
func (tx *Tx) FleetsNamed(project s4t.ProjectID, name string) ([]s4t.Fleet, error) {
	where, args := named("fleets", project, name)
	return many(tx, fmt.Sprintf("find fleet %q", name), scanFleet, `SELECT `+fleetColumns+` FROM fleets `+where, args...)
}

// Fleets returns a page of the fleets of a project by name, without their
// members; "" means every project.
func (tx *Tx) Fleets(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Fleet], error) {
	return page(tx, "list fleets", p, order[s4t.Fleet]{"name, id", func(f s4t.Fleet) []any { return []any{f.Name, string(f.ID)} }},
		scanFleet, `SELECT `+fleetColumns+` FROM fleets`, equal(filter{}, "project", project))
}

// FleetBoards fills in who is named in a fleet, and returns its members, by name.
// More than [s4t.MaxFleetBoards] are TooMany.
func (tx *Tx) FleetBoards(f *s4t.Fleet) ([]s4t.FleetBoard, error) {
	op := fmt.Sprintf("list the boards of fleet %q", f.Name)
	named, err := many(tx, op, value[s4t.BoardID], `SELECT board FROM fleet_boards WHERE fleet = ? ORDER BY board`, f.ID)
	if err != nil {
		return nil, err
	}
	f.Named = nil
	if len(named) > 0 {
		f.Named = named
	}
	return tx.members(op, *f)
}

// members are the boards that a rule of a fleet, or of what is like one, has now, by name.
func (tx *Tx) members(op string, f s4t.Fleet) ([]s4t.FleetBoard, error) {
	members, err := manyIn(tx, op, func(s scanner) (b s4t.FleetBoard, err error) {
		err = s.Scan(&b.ID, &b.Name)
		return b, err
	}, `SELECT id, name FROM boards WHERE id IN `, nil, f.Named, ``)
	if err != nil {
		return nil, err
	}
	if len(f.Labels) > 0 || f.Near != nil {
		var cells []geo.Range
		if f.Near != nil {
			cells = geo.Around(*f.Near, f.Within)
		}
		where, err := tx.narrow(filter{}, "b.", f.Project, f.Labels, cells)
		if err != nil {
			return nil, err
		}
		_, err = many(tx, op, func(s scanner) (_ struct{}, err error) {
			var b s4t.Board
			var labels, location string
			if err = s.Scan(&b.ID, &b.Name, &labels, &location); err != nil {
				return
			}
			if err = fromJSON(labels, &b.Labels); err == nil {
				err = fromJSON(location, &b.Location)
			}
			if f.Matches(b.Labels, b.Location) {
				members = append(members, s4t.FleetBoard{ID: b.ID, Name: b.Name})
			}
			return
		}, `SELECT b.id, b.name, b.labels, b.location FROM boards b`+where.where(), where.args...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(members, func(a, b s4t.FleetBoard) int {
		return strings.Compare(a.Name+"\x00"+string(a.ID), b.Name+"\x00"+string(b.ID))
	})
	members = slices.Compact(members)
	if len(members) > s4t.MaxFleetBoards {
		return nil, s4t.Errorf(s4t.TooMany, op, "make several fleets, with more labels each", "it has %d boards, %d are allowed", len(members), s4t.MaxFleetBoards)
	}
	return members, nil
}
