package store

import (
	"encoding/json"
	"strings"

	"github.com/stack4things/s4t"
)

const eventColumns = `id, at, kind, project, object, name, board, detail, data`

func scanEvent(s scanner) (s4t.Event, error) {
	var e s4t.Event
	var at int64
	var data string
	err := s.Scan(&e.ID, &at, &e.Kind, &e.Project, &e.Object, &e.Name, &e.Board, &e.Detail, &data)
	e.At = fromMicros(at)
	if data != "" {
		e.Data = json.RawMessage(data)
	}
	return e, err
}

// InsertEvents appends events when the transaction is committed: after all that
// it writes, and in the order of the calls. Their IDs are chosen then; see
// [Tx.LastInserted].
//
// Ids grow in the order of commits: who has read up to an id never sees a
// smaller one later. On PostgreSQL, therefore, they are drawn by one
// transaction at a time, until its commit is visible. All that was to wait for
// others has waited by then: only the commits are serial, and nobody who has a
// row locked is waited for. An id that was drawn for nothing, since the commit
// failed, is a hole.
func (tx *Tx) InsertEvents(events ...s4t.Event) { tx.events = append(tx.events, events...) }

// LastInserted returns the id of the last event that the transaction appended,
// once [DB.Tx] has returned nil; 0 if it appended none.
func (tx *Tx) LastInserted() int64 { return tx.lastInserted }

const opEvents = "record events"

// maxInsertEvents bounds the events of one statement: an engine takes some
// 32,000 placeholders.
const maxInsertEvents = 1024

// eventsLock is the advisory lock of those who draw ids of events.
const eventsLock = `pg_advisory_xact_lock(7348247)`

// statement is one with its arguments.
type statement struct {
	query string
	args  []any
}

// eventStatements are those that append the events; each returns their ids.
func (tx *Tx) eventStatements() []statement {
	var all []statement
	for events := tx.events; len(events) > 0; { // of a few lengths, as insert does it
		n := powerOfTwo(min(len(events), maxInsertEvents))
		all = append(all, tx.eventStatement(events[:n]))
		events = events[n:]
	}
	return all
}

func (tx *Tx) eventStatement(events []s4t.Event) statement {
	var query strings.Builder
	query.WriteString(`INSERT INTO events (at, kind, project, object, name, board, detail, data)
		SELECT column2, column3, column4, column5, column6, column7, column8, column9 FROM `)
	if tx.db.engine == postgres {
		// A volatile function is neither left out nor moved: the join has no
		// row, and so draws no id, before there is the lock.
		query.WriteString(`(SELECT ` + eventsLock + `) AS held, `)
	}
	query.WriteString(`(VALUES `)
	args := make([]any, 0, 9*len(events))
	for i, e := range events {
		if i == 0 { // the first row gives the columns their types
			query.WriteString(`(CAST(? AS BIGINT), CAST(? AS BIGINT), ?, ?, ?, ?, ?, ?, ?)`)
		} else {
			query.WriteString(`, (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		}
		data := ""
		if e.Data != nil {
			data = jsonText(e.Data)
		}
		args = append(args, i, micros(e.At), e.Kind, string(e.Project), e.Object, e.Name, e.Board, e.Detail, data)
	}
	query.WriteString(`) AS told ORDER BY column1 RETURNING id`)
	return statement{query.String(), args}
}

// Events returns at most limit events of a project, and of a board by its name, after one, oldest
// first; "" means every project, and every board. See [Tx.TrimmedEvents].
func (tx *Tx) Events(project s4t.ProjectID, board string, after int64, limit int) ([]s4t.Event, error) {
	f := equal(equal(filter{}, "project", project), "board", board).and("id > ?", after)
	return many(tx, "list events", scanEvent, `SELECT `+eventColumns+` FROM events`+f.where()+` ORDER BY id LIMIT ?`, append(f.args, limit)...)
}

// LastEvent returns the id of the newest event, 0 if there is none.
func (tx *Tx) LastEvent() (int64, error) {
	return one(tx, "find the newest event", value[int64], `SELECT COALESCE(MAX(id), 0) FROM events`)
}

// TrimmedEvents returns the id of the newest event of a project that is not
// kept any more, 0 if all are kept: who asks for the events after a smaller one
// misses some. "" means every project: what any of them has lost.
func (tx *Tx) TrimmedEvents(project s4t.ProjectID) (int64, error) {
	const op = "find the oldest event"
	all, err := one(tx, op, value[int64], `SELECT id FROM events_trimmed`)
	if err != nil {
		return 0, err
	}
	f := equal(filter{}, "project", project)
	own, err := one(tx, op, value[int64], `SELECT COALESCE(MAX(id), 0) FROM project_events_trimmed`+f.where(), f.args...)
	return max(all, own), err
}

// CountEvents returns how many events are kept of each project.
func (tx *Tx) CountEvents() (map[s4t.ProjectID]int, error) {
	counts := map[s4t.ProjectID]int{}
	return counts, count(tx, "count events", counts, `SELECT project, COUNT(*) FROM events GROUP BY project`)
}

// TrimEvents deletes all but the newest keep events of a project, of which
// there is at least one.
func (tx *Tx) TrimEvents(project s4t.ProjectID, keep int) error {
	const op = "forget old events"
	newest, err := one(tx, op, value[int64], `SELECT id FROM events WHERE project = ? ORDER BY id DESC LIMIT 1 OFFSET ?`, project, max(keep, 1))
	if s4t.KindOf(err) == s4t.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.exec(op, `INSERT INTO project_events_trimmed (project, id) VALUES (?, ?)
		ON CONFLICT (project) DO UPDATE SET id = excluded.id WHERE project_events_trimmed.id < excluded.id`, project, newest); err != nil {
		return err
	}
	_, err = tx.exec(op, `DELETE FROM events WHERE project = ? AND id <= ?`, project, newest)
	return err
}
