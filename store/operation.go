package store

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Operation is an operation with what only the conductor needs.
type Operation struct {
	s4t.Operation
	Name    string // of the object
	Retries int    // other choices that may still be tried
}

const operationColumns = `id, kind, project, object, name, status, steps, lanes, error, error_kind, created_at, ended_at, retries`

func scanOperation(s scanner) (Operation, error) {
	var o Operation
	var steps, lanes string
	var created int64
	var ended sql.NullInt64
	if err := s.Scan(&o.ID, &o.Kind, &o.Project, &o.Object, &o.Name, &o.Status, &steps, &lanes, &o.Error, &o.ErrorKind, &created, &ended, &o.Retries); err != nil {
		return o, err
	}
	o.CreatedAt, o.EndedAt = fromMicros(created), fromMicrosOrNull(ended)
	if err := fromJSON(lanes, &o.Lanes); err != nil {
		return o, err
	}
	return o, fromJSON(steps, &o.Steps)
}

// lanesText is how lanes are kept.
func lanesText(lanes []s4t.Lane) string {
	if len(lanes) == 0 {
		return ""
	}
	return jsonText(lanes)
}

// InsertOperation adds an operation that may run for timeout from now, by the
// database's clock.
func (tx *Tx) InsertOperation(o Operation, timeout time.Duration) error {
	now := tx.Now()
	_, err := tx.exec("record the operation "+o.Kind,
		`INSERT INTO operations (`+operationColumns+`, deadline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.ID, o.Kind, o.Project, o.Object, o.Name, o.Status, jsonText(o.Steps), lanesText(o.Lanes), o.Error, o.ErrorKind, micros(o.CreatedAt), microsOrNull(o.EndedAt), o.Retries, micros(now.Add(timeout)))
	return err
}

// EndOperation writes how an operation ended, and reports whether it did: one
// that has ended already stays as it is.
func (tx *Tx) EndOperation(o Operation) (bool, error) {
	op := fmt.Sprintf("record the end of operation %q", o.ID)
	n, err := tx.exec(op, `UPDATE operations SET status = ?, steps = ?, lanes = ?, error = ?, error_kind = ?, ended_at = ? WHERE id = ? AND status = 'running'`,
		o.Status, jsonText(o.Steps), lanesText(o.Lanes), o.Error, o.ErrorKind, microsOrNull(o.EndedAt), o.ID)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.exec(op, `DELETE FROM awaits WHERE operation = ?`, o.ID)
	return true, err
}

// SetSteps writes the steps of an operation.
func (tx *Tx) SetSteps(id s4t.OperationID, steps []s4t.Step) error {
	_, err := tx.exec(fmt.Sprintf("record the steps of operation %q", id), `UPDATE operations SET steps = ? WHERE id = ?`, jsonText(steps), id)
	return err
}

// SetProgress writes the steps of an operation, and the lanes of its boards.
func (tx *Tx) SetProgress(o Operation) error {
	_, err := tx.exec(fmt.Sprintf("record the steps of operation %q", o.ID), `UPDATE operations SET steps = ?, lanes = ? WHERE id = ?`, jsonText(o.Steps), lanesText(o.Lanes), o.ID)
	return err
}

// UseRetry takes one of the retries of a running operation.
func (tx *Tx) UseRetry(id s4t.OperationID) error {
	_, err := tx.exec(fmt.Sprintf("try operation %q again", id), `UPDATE operations SET retries = retries - 1 WHERE id = ? AND status = 'running'`, id)
	return err
}

// Operation returns an operation, with its run where it is one of a command.
func (tx *Tx) Operation(id s4t.OperationID) (Operation, error) {
	return one(tx, fmt.Sprintf("find operation %q", id), scanShownOperation, shownOperation("r.params", "r.result")+` WHERE o.id = ?`, id)
}

// LockOperation returns an operation, without its run, and holds it until the
// transaction ends: of two who find that it is done, one ends it.
func (tx *Tx) LockOperation(id s4t.OperationID) (Operation, error) {
	return one(tx, fmt.Sprintf("find operation %q", id), scanOperation, `SELECT `+operationColumns+` FROM operations WHERE id = ?`+tx.forUpdate(), id)
}

// OverdueOperations returns the running operations whose time is over, by the
// database's clock; with all, every running one.
func (tx *Tx) OverdueOperations(all bool) ([]s4t.OperationID, error) {
	now := tx.Now()
	if all {
		now = now.AddDate(100, 0, 0)
	}
	return many(tx, "list operations", value[s4t.OperationID], `SELECT id FROM operations WHERE status = 'running' AND deadline < ? ORDER BY deadline, id`, micros(now))
}

// ExtendOperations gives every running operation this much time from now: the
// clock has jumped. A value that is written for longer keeps its own.
func (tx *Tx) ExtendOperations(timeout time.Duration) error {
	now := tx.Now()
	_, err := tx.exec("give operations their time again", `UPDATE operations SET deadline = ? WHERE status = 'running' AND (kind <> 'pin.write' OR deadline < ?)`, micros(now.Add(timeout)), micros(now.Add(timeout)))
	return err
}

// Operations returns a page of the operations of a project, oldest first; ""
// means every project. Of runs, parameters and results are there that are short.
func (tx *Tx) Operations(project s4t.ProjectID, p wire.Page) (wire.List[Operation], error) {
	return page(tx, "list operations", p, order[Operation]{"o.created_at, o.id", func(o Operation) []any { return []any{micros(o.CreatedAt), string(o.ID)} }},
		scanShownOperation, shownOperation(short("r.params"), short("r.result")), equal(filter{}, "o.project", project))
}

// CountOperations returns how many operations are kept of each project, without
// the runs of commands.
func (tx *Tx) CountOperations() (map[s4t.ProjectID]int, error) {
	counts := map[s4t.ProjectID]int{}
	return counts, count(tx, "count operations", counts, `SELECT project, COUNT(*) FROM operations WHERE kind <> 'command.run' GROUP BY project`)
}

// TrimOperations deletes the oldest of a project that ended and are no runs of
// commands, so that keep are left in all.
func (tx *Tx) TrimOperations(project s4t.ProjectID, keep int) error {
	_, err := tx.exec("forget old operations", `DELETE FROM operations WHERE project = ? AND kind <> 'command.run' AND status <> 'running' AND
		created_at < (SELECT created_at FROM operations WHERE project = ? AND kind <> 'command.run' ORDER BY created_at DESC LIMIT 1 OFFSET ?)`, project, project, keep)
	return err
}
