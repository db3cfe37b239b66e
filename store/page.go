package store

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// order is the order of a list of T: columns that are NOT NULL and together
// unique, so that a page can begin after a row whatever came and went since
// the page before. It wants an index that begins with the columns of the
// list's filter and goes on with these.
type order[T any] struct {
	columns string        // "name, id"
	key     func(T) []any // their values, as strings and int64
}

// filter is what follows WHERE: conditions that all hold. The zero value is
// none.
type filter struct {
	conditions []string
	args       []any
}

// and adds a condition.
func (f filter) and(condition string, args ...any) filter {
	return filter{append(f.conditions[:len(f.conditions):len(f.conditions)], condition), append(f.args[:len(f.args):len(f.args)], args...)}
}

// equal adds that a column has a value, unless that is empty: two texts, chosen
// here, since one that asks "is there a value, or ..." uses no index.
func equal[S ~string](f filter, column string, value S) filter {
	if value == "" {
		return f
	}
	return f.and(column+" = ?", value)
}

// where is its text, with the WHERE; empty for none.
func (f filter) where() string {
	if len(f.conditions) == 0 {
		return ""
	}
	return " WHERE (" + strings.Join(f.conditions, ") AND (") + ")"
}

// page reads one page of a list: what query ("SELECT ... FROM ...") gives under
// f, in the order of by. With it comes the id of the newest event: what is
// committed later is told by events after that. A page that is none of 1 to
// [wire.MaxPage] rows, or begins after what is no cursor, is Invalid.
func page[T any](tx *Tx, op string, p wire.Page, by order[T], scan func(scanner) (T, error), query string, f filter) (wire.List[T], error) {
	return pageOf(tx, op, p, wire.MaxPage, by, scan, query, f)
}

// pageOf is page for a list whose pages have another bound.
func pageOf[T any](tx *Tx, op string, p wire.Page, most int, by order[T], scan func(scanner) (T, error), query string, f filter) (wire.List[T], error) {
	limit := p.Limit
	if limit == 0 {
		limit = most
	}
	if limit < 0 || limit > most {
		return wire.List[T]{}, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("ask for 1 to %d", most), "a page cannot have %d entries", limit)
	}
	if p.After != "" {
		var zero T
		keys, ok := parseCursor(p.After, by.key(zero))
		if !ok {
			return wire.List[T]{}, badCursor(op, p.After)
		}
		f = f.and("("+by.columns+") > (?"+strings.Repeat(", ?", len(keys)-1)+")", keys...)
	}
	// One more than was asked for tells whether there is a next page.
	items, err := many(tx, op, scan, query+f.where()+" ORDER BY "+by.columns+" LIMIT ?", append(f.args, limit+1)...)
	if err != nil {
		return wire.List[T]{}, err
	}
	list := wire.List[T]{Items: items}
	if len(items) > limit {
		list.Items = items[:limit]
		list.Next = cursor(by.key(items[limit-1]))
	}
	list.EventID, err = tx.LastEvent()
	return list, err
}

// badCursor is the error of what is no cursor.
func badCursor(op, text string) error {
	return s4t.Errorf(s4t.Invalid, op, "give the cursor as the page before had it, or none to begin anew", "%.40q is no cursor of this list", text)
}

// maxCursor bounds a cursor: no list is ordered by text longer than a name or
// an id.
const maxCursor = 1024

// cursor says after which row a page begins: the row's keys as a JSON array, in
// base64url so that it goes through a URL. It means nothing to others.
func cursor(keys []any) string {
	return base64.RawURLEncoding.EncodeToString([]byte(jsonText(keys)))
}

// parseCursor reads it back; like has values of the types of the keys.
func parseCursor(text string, like []any) ([]any, bool) {
	if len(text) > maxCursor {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	var parts []json.RawMessage
	if json.Unmarshal(b, &parts) != nil || len(parts) != len(like) {
		return nil, false
	}
	keys := make([]any, len(like))
	for i, part := range parts {
		v := reflect.New(reflect.TypeOf(like[i]))
		if string(part) == "null" || json.Unmarshal(part, v.Interface()) != nil {
			return nil, false
		}
		keys[i] = v.Elem().Interface()
		if !storable(keys[i]) {
			return nil, false
		}
	}
	return keys, true
}
