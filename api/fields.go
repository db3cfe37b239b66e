package api

import (
	"encoding/json"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t/wire"
)

// items are the objects of a list, and which fields of them are wanted; none said: all. Or they
// are JSON already, the array with those fields.
type items[T any] struct {
	list   []T
	fields *wire.Projection
	raw    json.RawMessage
}

// Schema is that of a bare array.
func (items[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: r.Schema(typeOf[T](), true, "")}
}

// writeJSON writes the array, never null; see [openAPIConfig].
func (i items[T]) writeJSON(w io.Writer) error {
	if i.raw != nil {
		_, err := w.Write(append(i.raw, '\n'))
		return err
	}
	if i.list == nil {
		_, err := io.WriteString(w, "[]\n")
		return err
	}
	if i.fields == nil {
		return json.NewEncoder(w).Encode(i.list)
	}
	b := make([]byte, 0, 128*len(i.list)+2)
	b = append(b, '[')
	for n := range i.list {
		if n > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = i.fields.Append(b, &i.list[n]); err != nil {
			return err
		}
	}
	_, err := w.Write(append(b, ']', '\n'))
	return err
}
