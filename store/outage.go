package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Outage is an outage of a board.
type Outage struct {
	Board s4t.BoardID
	s4t.Outage
}

const outageSelect = `SELECT board, began, ended, reason, detail FROM outages `

func scanOutage(s scanner) (o Outage, err error) {
	var began, ended int64
	err = s.Scan(&o.Board, &began, &ended, &o.Reason, &o.Detail)
	o.Began = fromMicros(began)
	if ended != 0 {
		at := fromMicros(ended)
		o.Ended = &at
	}
	return o, err
}

// OpenOutages returns the outages of boards that last.
func (tx *Tx) OpenOutages(ids []s4t.BoardID) (map[s4t.BoardID]Outage, error) {
	all, err := manyIn(tx, "find boards that are away", scanOutage, outageSelect+`WHERE ended = 0 AND board IN `, nil, ids, ` ORDER BY board, began`)
	m := make(map[s4t.BoardID]Outage, len(all))
	for _, o := range all {
		m[o.Board] = o
	}
	return m, err
}

// OutagesSince returns the outages of boards that last, or ended after a time.
func (tx *Tx) OutagesSince(ids []s4t.BoardID, t time.Time) (map[s4t.BoardID][]s4t.Outage, error) {
	all, err := manyIn(tx, "find when boards were away", scanOutage, outageSelect+`WHERE (ended = 0 OR ended > ?) AND board IN `, []any{micros(t)}, ids, ` ORDER BY board, began`)
	m := map[s4t.BoardID][]s4t.Outage{}
	for _, o := range all {
		m[o.Board] = append(m[o.Board], o.Outage)
	}
	return m, err
}

// PutOutages adds outages, or changes what is known of them. The boards are locked.
func (tx *Tx) PutOutages(all []Outage) error {
	return insert(tx, "record outages", `INSERT INTO outages (board, began, ended, reason, detail) VALUES `, all, func(o Outage) []any {
		ended := int64(0)
		if o.Ended != nil {
			ended = micros(*o.Ended)
		}
		return []any{o.Board, micros(o.Began), ended, o.Reason, o.Detail}
	}, ` ON CONFLICT (board, began) DO UPDATE SET ended = excluded.ended, reason = excluded.reason, detail = excluded.detail`)
}

// Outages returns a page of the outages of a board, newest first.
func (tx *Tx) Outages(id s4t.BoardID, p wire.Page) (wire.List[Outage], error) {
	return page(tx, fmt.Sprintf("list the outages of board %q", id), p, order[Outage]{"-began", func(o Outage) []any { return []any{-micros(o.Began)} }},
		scanOutage, outageSelect, equal(filter{}, "board", id))
}

// TrimOutagesOf forgets all but the newest keep outages of a board.
func (tx *Tx) TrimOutagesOf(id s4t.BoardID, keep int) error {
	_, err := tx.exec(fmt.Sprintf("forget old outages of board %q", id),
		`DELETE FROM outages WHERE board = ? AND began <= (SELECT began FROM outages WHERE board = ? ORDER BY began DESC LIMIT 1 OFFSET ?)`, id, id, keep)
	return err
}

// TrimOutages forgets at most limit outages that ended before a time; it returns how
// many.
func (tx *Tx) TrimOutages(before time.Time, limit int) (int64, error) {
	return tx.exec("forget old outages", `DELETE FROM outages WHERE (board, began) IN (SELECT board, began FROM outages WHERE ended > 0 AND ended < ? LIMIT ?)`, micros(before), limit)
}

// SetCame writes when the first session of a board began.
func (tx *Tx) SetCame(id s4t.BoardID, at time.Time) error {
	_, err := tx.exec(fmt.Sprintf("record the first session of board %q", id), `UPDATE boards SET came_at = ? WHERE id = ?`, micros(at), id)
	return err
}

// Came returns it; zero where it is not known.
func (tx *Tx) Came(id s4t.BoardID) (time.Time, error) {
	us, err := one(tx, fmt.Sprintf("find the first session of board %q", id), value[int64], `SELECT came_at FROM boards WHERE id = ?`, id)
	return fromMicros(us), err
}
