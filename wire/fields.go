package wire

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
)

// MaxFields bounds the names in a list of fields.
const MaxFields = 64

// Projection is what is wanted of objects of one type: fields, and of those that are objects
// themselves, fields of them.
type Projection struct {
	parts []part
}

type part struct {
	key       string
	name      string // the key quoted, with its colon
	index     []int  // of reflect.Value.FieldByIndex
	omitEmpty bool
	of        *Projection // of the field; nil: all of it
}

// Has reports whether any of some fields is wanted: "status", or "info.version", which is where
// all of info is.
func (p *Projection) Has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		head, rest, _ := strings.Cut(name, ".")
		i := slices.IndexFunc(p.parts, func(f part) bool { return f.key == head })
		return i >= 0 && (rest == "" || p.parts[i].of == nil || p.parts[i].of.Has(rest))
	})
}

// Keys are the fields that are wanted, in order, without what of each.
func (p *Projection) Keys() []string {
	keys := make([]string, len(p.parts))
	for i, f := range p.parts {
		keys[i] = f.key
	}
	return keys
}

// Of is what is wanted of a field that is an object; nil: all of it, or nothing.
func (p *Projection) Of(key string) *Projection {
	if i := slices.IndexFunc(p.parts, func(f part) bool { return f.key == key }); i >= 0 {
		return p.parts[i].of
	}
	return nil
}

// Append appends the JSON of an object, a struct.
func (p *Projection) Append(b []byte, object any) ([]byte, error) {
	return p.append(b, reflect.Indirect(reflect.ValueOf(object)))
}

// append appends the JSON of an object.
func (p *Projection) append(b []byte, v reflect.Value) ([]byte, error) {
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

// ProjectionOf reads a list of fields, with commas between them, of the objects of a list: names
// of JSON, "info.version" for a field of a field. The id is always there.
func ProjectionOf[T any](op, fields string) (*Projection, error) {
	names := strings.Split(fields, ",")
	if len(names) > MaxFields {
		return nil, s4t.Errorf(s4t.Invalid, op, "ask for all, without fields", "%d fields are more than %d", len(names), MaxFields)
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
	p := &Projection{}
	known := fieldsOf(reflect.TypeFor[T]())
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
			f.of = &Projection{}
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
		all[name] = field{part{name, `"` + name + `":`, f.Index, strings.Contains(options, "omit"), nil}, kind}
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
