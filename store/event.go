package store

import (
	"encoding/json"

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

// InsertEvent appends an event; its ID is chosen here.
func (tx *Tx) InsertEvent(e s4t.Event) error {
	data := ""
	if e.Data != nil {
		data = jsonText(e.Data)
	}
	_, err := tx.exec("record the event "+e.Kind,
		`INSERT INTO events (`+eventColumns+`) VALUES ((SELECT COALESCE(MAX(id), 0) + 1 FROM events), ?, ?, ?, ?, ?, ?, ?, ?)`,
		micros(e.At), e.Kind, e.Project, e.Object, e.Name, e.Board, e.Detail, data)
	return err
}

// Events returns at most limit events of a project after one, oldest first;
// "" means every project.
func (tx *Tx) Events(project s4t.ProjectID, after int64, limit int) ([]s4t.Event, error) {
	return many(tx, "list events", scanEvent,
		`SELECT `+eventColumns+` FROM events WHERE id > ? AND (? = '' OR project = ?) ORDER BY id LIMIT ?`, after, project, project, limit)
}

// LastEvent returns the id of the newest event, 0 if there is none.
func (tx *Tx) LastEvent() (int64, error) {
	return one(tx, "find the newest event", value[int64], `SELECT COALESCE(MAX(id), 0) FROM events`)
}

// TrimEvents deletes all but the newest keep.
func (tx *Tx) TrimEvents(keep int) error {
	_, err := tx.exec("forget old events", `DELETE FROM events WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM events) - ?`, keep)
	return err
}
