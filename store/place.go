package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// InsertPlace notes where a board is from a time on. The newest [s4t.MaxPlaces] stay.
func (tx *Tx) InsertPlace(board s4t.BoardID, l s4t.Location, since time.Time) error {
	op := fmt.Sprintf("note where board %q is", board)
	if _, err := tx.exec(op, `INSERT INTO board_places (board, since, location) VALUES (?, ?, ?) ON CONFLICT (board, since) DO UPDATE SET location = excluded.location`, board, micros(since), jsonText(l)); err != nil {
		return err
	}
	_, err := tx.exec(op, `DELETE FROM board_places WHERE board = ? AND since <= (SELECT since FROM board_places WHERE board = ? ORDER BY since DESC LIMIT 1 OFFSET ?)`, board, board, s4t.MaxPlaces)
	return err
}

// Places returns where a board was, oldest first.
func (tx *Tx) Places(board s4t.BoardID) ([]s4t.Place, error) {
	return many(tx, fmt.Sprintf("list the places of board %q", board), func(s scanner) (p s4t.Place, err error) {
		var since int64
		var location string
		if err = s.Scan(&since, &location); err == nil {
			p.Since = fromMicros(since)
			err = fromJSON(location, &p.Location)
		}
		return p, err
	}, `SELECT since, location FROM board_places WHERE board = ? ORDER BY since`, board)
}
