package store

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// scanner is a row: *sql.Row or *sql.Rows.
type scanner interface {
	Scan(dest ...any) error
}

// exec runs a statement and returns how many rows it changed. op is what was
// attempted, for the error: `delete project "lab"`.
func (tx *Tx) exec(op, query string, args ...any) (int64, error) {
	res, err := tx.tx.ExecContext(tx.ctx, tx.rebind(query), args...)
	if err != nil {
		return 0, mapError(op, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, mapError(op, err)
	}
	return n, nil
}

// one reads one row. No row is NotFound.
func one[T any](tx *Tx, op string, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	v, err := scan(tx.tx.QueryRowContext(tx.ctx, tx.rebind(query), args...))
	if err != nil {
		var zero T
		return zero, mapError(op, err)
	}
	return v, nil
}

// many reads all rows. No row is an empty slice, not nil: lists are bare
// arrays in JSON.
func many[T any](tx *Tx, op string, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.tx.QueryContext(tx.ctx, tx.rebind(query), args...)
	if err != nil {
		return nil, mapError(op, err)
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, mapError(op, err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, mapError(op, err)
	}
	return all, nil
}

// value scans a row of one column.
func value[T any](s scanner) (T, error) {
	var v T
	err := s.Scan(&v)
	return v, err
}

// rebind turns '?' into '$1', '$2', ... for PostgreSQL, outside of quotes.
func (tx *Tx) rebind(query string) string {
	if tx.engine != postgres {
		return query
	}
	return dollars(query)
}

// dollars does that.
func dollars(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 16)
	n, quoted := 0, false
	for i := range len(query) {
		switch c := query[i]; {
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '?' && !quoted:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// micros is how a time is stored: microseconds since 1970, UTC; 0 for the zero
// time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros reads it back.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// microsOrNull is how a time that may be missing is stored.
func microsOrNull(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(*t), Valid: true}
}

// fromMicrosOrNull reads it back.
func fromMicrosOrNull(us sql.NullInt64) *time.Time {
	if !us.Valid {
		return nil
	}
	t := fromMicros(us.Int64)
	return &t
}

// jsonText is how a value of many parts is stored. The types of this package
// can all be encoded.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("store: encode " + err.Error())
	}
	return string(b)
}

// fromJSON reads it back; an empty text leaves v as it is.
func fromJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}
