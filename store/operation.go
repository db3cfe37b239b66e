package store

import (
	"database/sql"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
)

// MaxOperations is how many operations one list returns: the newest.
const MaxOperations = 1000

// Operation is an operation with what it waits for.
type Operation struct {
	s4t.Operation
	Name   string // of the object
	Awaits string // JSON, of the conductor
}

const operationColumns = `id, kind, project, object, name, status, steps, awaits, error, error_kind, created_at, ended_at`

func scanOperation(s scanner) (Operation, error) {
	var o Operation
	var steps string
	var created int64
	var ended sql.NullInt64
	if err := s.Scan(&o.ID, &o.Kind, &o.Project, &o.Object, &o.Name, &o.Status, &steps, &o.Awaits, &o.Error, &o.ErrorKind, &created, &ended); err != nil {
		return o, err
	}
	o.CreatedAt, o.EndedAt = fromMicros(created), fromMicrosOrNull(ended)
	return o, fromJSON(steps, &o.Steps)
}

// InsertOperation adds an operation.
func (tx *Tx) InsertOperation(o Operation) error {
	_, err := tx.exec("record the operation "+o.Kind,
		`INSERT INTO operations (`+operationColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.ID, o.Kind, o.Project, o.Object, o.Name, o.Status, jsonText(o.Steps), o.Awaits, o.Error, o.ErrorKind, micros(o.CreatedAt), microsOrNull(o.EndedAt))
	return err
}

// UpdateOperation writes how an operation goes: status, steps, error, end.
func (tx *Tx) UpdateOperation(o Operation) error {
	_, err := tx.exec(fmt.Sprintf("record the end of operation %q", o.ID),
		`UPDATE operations SET status = ?, steps = ?, error = ?, error_kind = ?, ended_at = ? WHERE id = ?`,
		o.Status, jsonText(o.Steps), o.Error, o.ErrorKind, microsOrNull(o.EndedAt), o.ID)
	return err
}

// Operation returns an operation.
func (tx *Tx) Operation(id s4t.OperationID) (Operation, error) {
	return one(tx, fmt.Sprintf("find operation %q", id), scanOperation, `SELECT `+operationColumns+` FROM operations WHERE id = ?`, id)
}

// Operations returns the newest [MaxOperations] operations of a project, oldest
// first; "" means every project.
func (tx *Tx) Operations(project s4t.ProjectID) ([]Operation, error) {
	ops, err := many(tx, "list operations", scanOperation,
		`SELECT `+operationColumns+` FROM operations WHERE ? = '' OR project = ? ORDER BY created_at DESC, id LIMIT ?`, project, project, MaxOperations)
	slices.Reverse(ops)
	return ops, err
}

// RunningOperations returns the operations that have not ended.
func (tx *Tx) RunningOperations() ([]Operation, error) {
	return many(tx, "list operations", scanOperation, `SELECT `+operationColumns+` FROM operations WHERE status = 'running' ORDER BY created_at`)
}

// TrimOperations deletes the oldest that ended, so that keep are left in all.
func (tx *Tx) TrimOperations(keep int) error {
	_, err := tx.exec("forget old operations",
		`DELETE FROM operations WHERE status <> 'running' AND created_at < (SELECT created_at FROM operations ORDER BY created_at DESC LIMIT 1 OFFSET ?)`, keep)
	return err
}
