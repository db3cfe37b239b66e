package api

import (
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
)

// items are the objects of a list, and which fields of them are wanted; none said: all.
type items[T any] struct {
	list   []T
	fields *projection
}

// Schema is that of a bare array.
func (items[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: r.Schema(typeOf[T](), true, "")}
}

// writeJSON writes the array, never null; see [openAPIConfig].
func (i items[T]) writeJSON(w io.Writer) error {
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
		if b, err = i.fields.append(b, reflect.ValueOf(&i.list[n]).Elem()); err != nil {
			return err
		}
	}
	_, err := w.Write(append(b, ']', '\n'))
	return err
}

// maxFields bounds the parameter, in bytes and in names.
const maxFields = 64

// projection is what is wanted of objects of one type: fields, and of those that are objects
// themselves, fields of them.
type projection struct {
	parts []part
}

type part struct {
	name      string // quoted, with its colon
	index     []int  // of reflect.Value.FieldByIndex
	omitEmpty bool
	of        *projection // of the field; nil: all of it
}

// append appends the JSON of an object.
func (p *projection) append(b []byte, v reflect.Value) ([]byte, error) {
	b = append(b, '{')
	first := true
	for _, f := range p.parts {
		value := v.FieldByIndex(f.index)
		if f.omitEmpty && empty(value) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.name...)
		var err error
		switch {
		case f.of == nil:
			var text []byte
			if text, err = json.Marshal(value.Interface()); err == nil {
				b = append(b, text...)
			}
		case value.Kind() == reflect.Pointer && value.IsNil():
			b = append(b, "null"...)
		default:
			b, err = f.of.append(b, reflect.Indirect(value))
		}
		if err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// empty is what encoding/json leaves out with omitempty.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// projectionOf reads a list of fields, with commas between them, of the objects of a list: names
// of JSON, "info.version" for a field of a field. The id is always there.
func projectionOf[T any](op, fields string) (*projection, error) {
	names := strings.Split(fields, ",")
	if len(names) > maxFields {
		return nil, s4t.Errorf(s4t.Invalid, op, "ask for all, without fields", "%d fields are more than %d", len(names), maxFields)
	}
	tree := map[string][]string{}
	var order []string
	for _, name := range append([]string{"id"}, names...) {
		head, rest, nested := strings.Cut(strings.TrimSpace(name), ".")
		if _, ok := tree[head]; !ok {
			order = append(order, head)
		}
		if nested {
			tree[head] = append(tree[head], rest)
		} else {
			tree[head] = append(tree[head], "")
		}
	}
	p := &projection{}
	known := fieldsOf(typeOf[T]())
	for _, head := range order {
		f, ok := known[head]
		switch {
		case !ok && head == "id": // few objects have none
			continue
		case !ok:
			return nil, s4t.Errorf(s4t.Invalid, op, "use some of "+strings.Join(namesOf(known), ", "), "there is no field %q", s4t.Line(head, s4t.MaxName))
		}
		if rest := tree[head]; !slices.Contains(rest, "") {
			inner := fieldsOf(f.kind)
			f.of = &projection{}
			for _, name := range rest {
				g, ok := inner[name]
				if !ok {
					return nil, s4t.Errorf(s4t.Invalid, op, "use some of "+strings.Join(namesOf(inner), ", "), "%s has no field %q", head, s4t.Line(name, s4t.MaxName))
				}
				f.of.parts = append(f.of.parts, g.part)
			}
		}
		p.parts = append(p.parts, f.part)
	}
	return p, nil
}

// field is one of a struct.
type field struct {
	part
	kind reflect.Type // a struct's, where it is one or points to one
}

// fieldsOf are the fields of a struct, by their name in JSON; none of what is no struct.
func fieldsOf(t reflect.Type) map[string]field {
	all := map[string]field{}
	if t == nil || t.Kind() != reflect.Struct {
		return all
	}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		all[name] = field{part{`"` + name + `":`, f.Index, strings.Contains(options, "omit"), nil}, kind}
	}
	return all
}

func namesOf(fields map[string]field) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
