package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Transfer is a board that waits to be claimed by another project.
type Transfer struct {
	Board     s4t.BoardID
	To        s4t.ProjectID
	CodeHash  string
	ExpiresAt time.Time
}

// SetTransfer keeps a transfer, in place of an earlier one of the board.
func (tx *Tx) SetTransfer(t Transfer, now time.Time) error {
	_, err := tx.exec(fmt.Sprintf("transfer board %q", t.Board), `INSERT INTO transfers (board, project, code_hash, made_at, expires_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (board) DO UPDATE SET project = excluded.project, code_hash = excluded.code_hash, made_at = excluded.made_at, expires_at = excluded.expires_at`,
		t.Board, t.To, t.CodeHash, micros(now), micros(t.ExpiresAt))
	return err
}

// DeleteTransfer forgets the transfer of a board, and reports whether there was one.
func (tx *Tx) DeleteTransfer(board s4t.BoardID) (bool, error) {
	n, err := tx.exec(fmt.Sprintf("forget the transfer of board %q", board), `DELETE FROM transfers WHERE board = ?`, board)
	return n > 0, err
}

// TransferByCode returns the transfer whose code has this hash.
func (tx *Tx) TransferByCode(hash string) (Transfer, error) {
	return one(tx, "find the transfer of a code", func(s scanner) (t Transfer, err error) {
		var expires int64
		err = s.Scan(&t.Board, &t.To, &t.CodeHash, &expires)
		t.ExpiresAt = fromMicros(expires)
		return t, err
	}, `SELECT board, project, code_hash, expires_at FROM transfers WHERE code_hash = ?`, hash)
}

// MoveBoard gives a board, which is locked, to another project, with its name there and its labels, and
// forgets what its owner before had the cloud keep of it: fleets and offers that name it, and what it
// said of its pins, its code, and how it was.
func (tx *Tx) MoveBoard(b Board) error {
	op := fmt.Sprintf("give board %q to another project", b.Name)
	if _, err := tx.exec(op, `UPDATE boards SET project = ?, name = ?, labels = ?, code_hash = NULL, code_expires_at = 0, streams_until = 0, cloned_at = 0, tenure = tenure + 1 WHERE id = ?`,
		b.Project, b.Name, jsonText(b.Labels), b.ID); err != nil {
		return err
	}
	for _, query := range []string{
		`DELETE FROM transfers WHERE board = ?`,
		`DELETE FROM board_labels WHERE board = ?`,
		`DELETE FROM fleet_boards WHERE board = ?`,
		`DELETE FROM offer_boards WHERE board = ?`,
		`DELETE FROM leased_pins WHERE board = ?`,
		`DELETE FROM calendars WHERE board = ?`,
		`DELETE FROM board_places WHERE board = ?`,
		`DELETE FROM board_code WHERE board = ?`,
		`DELETE FROM board_health WHERE board = ?`,
		`DELETE FROM outages WHERE board = ? AND ended > 0`,
		`UPDATE board_pins SET pins = '', size = 0, digest = '', reported_at = 0 WHERE board = ?`, // the numbers of claims go on
	} {
		if _, err := tx.exec(op, query, b.ID); err != nil {
			return err
		}
	}
	return tx.indexBoard(op, b)
}
