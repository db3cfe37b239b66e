package store

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stack4things/s4t"
)

// scanner is a row: *sql.Row or *sql.Rows.
type scanner interface {
	Scan(dest ...any) error
}

// exec runs a statement that writes and returns how many rows it changed. op
// is what was attempted, for the error: `delete project "lab"`.
func (tx *Tx) exec(op, query string, args ...any) (int64, error) {
	if err := tx.begin(op, query, args); err != nil {
		return 0, err
	}
	res, err := tx.on.ExecContext(tx.ctx, tx.rebind(query), args...)
	if err != nil {
		return 0, tx.fail(op, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, tx.fail(op, err)
	}
	tx.wrote += n
	return n, nil
}

// one reads one row. No row is NotFound.
func one[T any](tx *Tx, op string, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	var zero T
	if err := tx.begin(op, query, args); err != nil {
		return zero, err
	}
	v, err := scan(tx.on.QueryRowContext(tx.ctx, tx.rebind(query), args...))
	if err != nil {
		return zero, tx.fail(op, err)
	}
	tx.returned(query, 1)
	return v, nil
}

// returned notes the rows that a statement returned, where it wrote them.
func (tx *Tx) returned(query string, n int) {
	if !tx.readOnly && !strings.HasPrefix(query, "SELECT") && !strings.HasPrefix(query, "WITH") {
		tx.wrote += int64(n)
	}
}

// many reads all rows. No row is an empty slice, not nil: lists are bare
// arrays in JSON.
func many[T any](tx *Tx, op string, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	if err := tx.begin(op, query, args); err != nil {
		return nil, err
	}
	rows, err := tx.on.QueryContext(tx.ctx, tx.rebind(query), args...)
	if err != nil {
		return nil, tx.fail(op, err)
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, tx.fail(op, err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, tx.fail(op, err)
	}
	tx.returned(query, len(all))
	return all, nil
}

// chunk bounds the values of one statement: SQLite takes 32,766 parameters.
const chunk = 256

// rowsOf returns the placeholders of n rows: "(?, ?), (?, ?)".
func rowsOf(n, columns int) string {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return row + strings.Repeat(", "+row, n-1)
}

// manyIn reads all rows that query, which ends with "IN ", gives for ids, and
// goes on with tail: as many ids to a statement as it takes, each such part in
// the order of tail.
func manyIn[T any, ID ~string](tx *Tx, op string, scan func(scanner) (T, error), query string, args []any, ids []ID, tail string) ([]T, error) {
	all := []T{}
	for part := range slices.Chunk(ids, chunk) {
		values := slices.Clone(args)
		for _, id := range part {
			values = append(values, id)
		}
		n := len(part)
		for ; n&(n-1) != 0; n++ { // up to a power of two, with one that is there: a few statements serve every length
			values = append(values, part[len(part)-1])
		}
		rows, err := many(tx, op, scan, query+rowsOf(1, n)+tail, values...)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// powerOfTwo is the greatest up to n, which is 1 at least.
func powerOfTwo(n int) int { return 1 << (bits.Len(uint(n)) - 1) }

// index returns where each of all is, by id, and the ids.
func index[T any, ID comparable](all []T, id func(T) ID) (at map[ID]int, ids []ID) {
	at = make(map[ID]int, len(all))
	for i, v := range all {
		at[id(v)] = i
		ids = append(ids, id(v))
	}
	return at, ids
}

// insert runs query, which ends with "VALUES ", for the values of all, and goes
// on with tail: some to a statement, always a power of two, so that a few statements
// serve every length.
func insert[T any](tx *Tx, op, query string, all []T, values func(T) []any, tail string) error {
	for len(all) > 0 {
		n := powerOfTwo(min(len(all), chunk))
		var args []any
		for _, v := range all[:n] {
			args = append(args, values(v)...)
		}
		if _, err := tx.exec(op, query+rowsOf(n, len(args)/n)+tail, args...); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// count reads rows of a key and a number.
func count[K ~string](tx *Tx, op string, into map[K]int, query string, args ...any) error {
	_, err := many(tx, op, func(s scanner) (_ struct{}, err error) {
		var key K
		var n int
		err = s.Scan(&key, &n)
		into[key] = n
		return
	}, query, args...)
	return err
}

// begin looks whether a statement can run.
func (tx *Tx) begin(op, query string, args []any) error {
	if tx.failed != nil {
		return tx.failed
	}
	for _, a := range args {
		if !storable(a) {
			return s4t.Errorf(s4t.Invalid, op, "use text in UTF-8, without NUL", "%.40q cannot be stored", a)
		}
	}
	if tx.db.executed != nil {
		tx.db.executed(query)
	}
	return nil
}

// storable reports whether both engines can take a value: PostgreSQL refuses
// text with a NUL or that is no UTF-8. What reads text from outside makes it
// so (see [s4t.Line]); this is the last that looks.
func storable(arg any) bool {
	var text string
	switch v := arg.(type) {
	case string:
		text = v
	case sql.NullString:
		text = v.String
	default: // s4t.BoardID and the like
		r := reflect.ValueOf(arg)
		if r.Kind() != reflect.String {
			return true
		}
		text = r.String()
	}
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

// fail gives an error its kind, and ends the transaction unless it is NotFound.
func (tx *Tx) fail(op string, err error) error {
	if cause := tx.ctx.Err(); cause != nil && errors.Is(err, driver.ErrBadConn) {
		err = cause // why the connection was left
	}
	err = mapError(op, err)
	if s4t.KindOf(err) != s4t.NotFound {
		tx.failed = err
	}
	return err
}

// value scans a row of one column.
func value[T any](s scanner) (T, error) {
	var v T
	err := s.Scan(&v)
	return v, err
}

// rebind turns '?' into '$1', '$2', ... for PostgreSQL, outside of quotes.
func (tx *Tx) rebind(query string) string {
	if tx.db.engine != postgres {
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
