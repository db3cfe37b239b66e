package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const recordingColumns = `id, project, board, board_name, shell_of, opened_by, source, started_at, ended_at, bytes`

func scanRecording(s scanner) (r s4t.Recording, err error) {
	var started, ended int64
	err = s.Scan(&r.ID, &r.Project, &r.BoardID, &r.Board, &r.ShellOf, &r.User, &r.Origin, &started, &ended, &r.Bytes)
	r.StartedAt = fromMicros(started)
	if ended != 0 {
		at := fromMicros(ended)
		r.EndedAt = &at
	}
	return r, err
}

// InsertRecording adds a recording, of which nothing is there.
func (tx *Tx) InsertRecording(r s4t.Recording) error {
	at := micros(r.StartedAt)
	_, err := tx.exec(fmt.Sprintf("begin recording %q", r.ID), `INSERT INTO recordings (`+recordingColumns+`, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?)`,
		r.ID, r.Project, r.BoardID, r.Board, r.ShellOf, r.User, r.Origin, at, at)
	return err
}

// Recording returns a recording.
func (tx *Tx) Recording(id s4t.RecordingID) (s4t.Recording, error) {
	return one(tx, fmt.Sprintf("find recording %q", id), scanRecording, `SELECT `+recordingColumns+` FROM recordings WHERE id = ?`, id)
}

// LockRecording returns it and holds it until the transaction ends: parts of it come one after
// the other.
func (tx *Tx) LockRecording(id s4t.RecordingID) (s4t.Recording, error) {
	return one(tx, fmt.Sprintf("find recording %q", id), scanRecording, `SELECT `+recordingColumns+` FROM recordings WHERE id = ?`+tx.forUpdate(), id)
}

// Recordings returns a page of the recordings of a project, oldest first; "" means every project.
func (tx *Tx) Recordings(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Recording], error) {
	return page(tx, "list recordings", p, order[s4t.Recording]{"started_at, id", func(r s4t.Recording) []any { return []any{micros(r.StartedAt), string(r.ID)} }},
		scanRecording, `SELECT `+recordingColumns+` FROM recordings`, equal(filter{}, "project", project))
}

// AddToRecording appends a part to a recording, which is held, and writes how much there is with
// it, and whether it has ended at that time; nil: it has not.
func (tx *Tx) AddToRecording(r s4t.Recording, data string, ended *time.Time) error {
	op := fmt.Sprintf("add to recording %q", r.ID)
	if data != "" {
		if _, err := tx.exec(op, `INSERT INTO recording_parts (recording, start, data) VALUES (?, ?, ?)`, r.ID, r.Bytes, data); err != nil {
			return err
		}
	}
	at := int64(0)
	if ended != nil {
		at = micros(*ended)
	}
	_, err := tx.exec(op, `UPDATE recordings SET bytes = ?, ended_at = ?, added_at = ? WHERE id = ?`, r.Bytes+int64(len(data)), at, micros(tx.Now()), r.ID)
	return err
}

// RecordingParts returns at most limit parts of a recording, in order, from an offset on.
func (tx *Tx) RecordingParts(id s4t.RecordingID, start int64, limit int) ([]string, error) {
	return many(tx, fmt.Sprintf("read recording %q", id), value[string], `SELECT data FROM recording_parts WHERE recording = ? AND start >= ? ORDER BY start LIMIT ?`, id, start, limit)
}

// DeleteRecording deletes a recording.
func (tx *Tx) DeleteRecording(id s4t.RecordingID) error {
	_, err := tx.exec(fmt.Sprintf("delete recording %q", id), `DELETE FROM recordings WHERE id = ?`, id)
	return err
}

// RecordingBytes is what the recordings of a project count for.
func (tx *Tx) RecordingBytes(project s4t.ProjectID) (int64, error) {
	return one(tx, "count what is recorded", value[int64], `SELECT COALESCE(SUM(bytes), 0) + COUNT(*) * ? FROM recordings WHERE project = ?`, int64(s4t.RecordingOverhead), project)
}

// OldestRecordings returns at most limit recordings of a project that have ended, oldest first.
func (tx *Tx) OldestRecordings(project s4t.ProjectID, limit int) ([]s4t.Recording, error) {
	return many(tx, "find the oldest recordings", scanRecording, `SELECT `+recordingColumns+` FROM recordings WHERE project = ? AND ended_at > 0 ORDER BY started_at, id LIMIT ?`, project, limit)
}

// ForgetRecordings deletes at most limit recordings that are older than life, and ends those that
// nothing was added to for idle, by the database's clock.
func (tx *Tx) ForgetRecordings(life, idle time.Duration, limit int) error {
	const op = "forget old recordings"
	now := tx.Now()
	if _, err := tx.exec(op, `DELETE FROM recordings WHERE id IN (SELECT id FROM recordings WHERE started_at < ? ORDER BY started_at, id LIMIT ?)`, micros(now.Add(-life)), limit); err != nil {
		return err
	}
	_, err := tx.exec(op, `UPDATE recordings SET ended_at = added_at WHERE ended_at = 0 AND added_at < ?`, micros(now.Add(-idle)))
	return err
}
