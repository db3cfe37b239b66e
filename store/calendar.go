package store

import (
	"database/sql"
	"time"

	"github.com/stack4things/s4t"
)

// CalendarToken opens one calendar, and nothing else.
type CalendarToken struct {
	Hash    string        // of its secret
	Project s4t.ProjectID // that has it
	Board   s4t.BoardID   // whose bookings they are; empty: the project's leases
	User    string        // who made it
}

func scanCalendarToken(s scanner) (t CalendarToken, err error) {
	var board sql.NullString
	err = s.Scan(&t.Hash, &t.Project, &board, &t.User)
	t.Board = s4t.BoardID(board.String)
	return t, err
}

// InsertCalendarToken keeps a token. Of one calendar a project has at most so many: the oldest go.
func (tx *Tx) InsertCalendarToken(t CalendarToken, now time.Time, most int) error {
	const op = "make a token of a calendar"
	if _, err := tx.exec(op, `INSERT INTO calendars (token_hash, project, board, made_by, made_at) VALUES (?, ?, ?, ?, ?)`, t.Hash, t.Project, textOrNull(string(t.Board)), t.User, micros(now)); err != nil {
		return err
	}
	_, err := tx.exec(op, `DELETE FROM calendars WHERE token_hash IN (SELECT token_hash FROM calendars WHERE project = ? AND COALESCE(board, '') = ? ORDER BY made_at DESC, token_hash LIMIT 100000 OFFSET ?)`,
		t.Project, string(t.Board), most)
	return err
}

// DeleteCalendarTokens ends the tokens of a calendar that a project has.
func (tx *Tx) DeleteCalendarTokens(project s4t.ProjectID, board s4t.BoardID) error {
	_, err := tx.exec("end the tokens of a calendar", `DELETE FROM calendars WHERE project = ? AND COALESCE(board, '') = ?`, project, string(board))
	return err
}

// CalendarToken returns the token with this hash, so long as who made it is a user.
func (tx *Tx) CalendarToken(hash string) (CalendarToken, error) {
	return one(tx, "find the token of a calendar", scanCalendarToken, `SELECT token_hash, project, board, made_by FROM calendars c WHERE token_hash = ? AND EXISTS (SELECT 1 FROM users u WHERE u.name = c.made_by)`, hash)
}

// CalendarLease is a lease as a calendar shows it.
type CalendarLease struct {
	s4t.Lease
	Revision int64 // grows with each change of it
}

// calendarColumns are those of a lease, from l.
const calendarColumns = `l.id, l.project, l.parent, l.name, l.user_name, l.status, l.reason, l.starts_at, l.ends_at, l.allow, l.priority, l.next_free, l.created_at, l.revision`

// leaseRow is a row of [scanLease] that goes on.
type leaseRow struct {
	scanner
	more []any
}

// Scan implements scanner.
func (r leaseRow) Scan(dest ...any) error { return r.scanner.Scan(append(dest, r.more...)...) }

func scanCalendarLease(s scanner) (l CalendarLease, err error) {
	l.Lease, err = scanLease(leaseRow{s, []any{&l.Revision}})
	return l, err
}

// BoardCalendar returns the leases of a board that end after a time, in order, at most n; no shares.
func (tx *Tx) BoardCalendar(board s4t.BoardID, since time.Time, n int) ([]CalendarLease, error) {
	return many(tx, "list the bookings of a board", scanCalendarLease, `SELECT `+calendarColumns+` FROM lease_boards m JOIN board_leases l ON l.id = m.lease
		WHERE m.board = ? AND m.ends_at > ? AND m.share = 0 AND l.starts_at < l.ends_at ORDER BY l.starts_at, l.id LIMIT ?`, board, micros(since), n)
}

// ProjectCalendar returns the leases of a project that end after a time, in order, at most n.
func (tx *Tx) ProjectCalendar(project s4t.ProjectID, since time.Time, n int) ([]CalendarLease, error) {
	return many(tx, "list the leases of a project", scanCalendarLease, `SELECT `+calendarColumns+` FROM board_leases l
		WHERE l.project = ? AND l.ends_at > ? AND l.starts_at < l.ends_at ORDER BY l.starts_at, l.id LIMIT ?`, project, micros(since), n)
}
