package store

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTheCopyOfCode(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ids, _ := pinBoards(t, db, 2, 100)
		code, profile, newer := []byte(`{"commands":[]}`), []byte(`{"open":true}`), []byte(`{"open":false}`)
		write(t, db, func(tx *Tx) error { return tx.SetBoardCode(ids[0], code, profile, at) })
		view(t, db, func(tx *Tx) error {
			c, err := tx.BoardCode(ids[0])
			same(t, "the copy", c, err, BoardCode{Code: json.RawMessage(code), Digest: DigestCode(code), Profile: json.RawMessage(profile), ReportedAt: at})
			d, err := tx.CodeDigest(ids[0])
			same(t, "its digest", d, err, DigestCode(code))
			c, err = tx.BoardCode(ids[1])
			same(t, "of a board that never said", c, err, BoardCode{})
			d, err = tx.CodeDigest(ids[1])
			same(t, "its digest", d, err, "")
			p, _, err := tx.BoardProfile(ids[1])
			same(t, "its profile", p, err, json.RawMessage(nil))
			return nil
		})
		later := at.Add(time.Minute)
		write(t, db, func(tx *Tx) error { return tx.SetBoardProfile(ids[0], newer, later) })
		view(t, db, func(tx *Tx) error {
			p, when, err := tx.BoardProfile(ids[0])
			same(t, "its newer profile", p, err, json.RawMessage(newer))
			same(t, "of when it is", when, nil, later)
			c, err := tx.BoardCode(ids[0])
			same(t, "its code", c.Code, err, json.RawMessage(code))
			return nil
		})
	})
}
