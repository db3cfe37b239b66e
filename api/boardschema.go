package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// components are the schemas of a board's document. The schemas of commands are
// documents of their own, which refer to their own parts; here all share one, so
// that their references are rewritten.
type components struct {
	schemas object
	names   map[string]bool // of commands
}

// name is what the schemas of a command are called: "relay-on" is RelayOn.
func (c *components) name(command string) string {
	if c.names == nil {
		c.names = map[string]bool{}
	}
	name := pascal(command)
	for n := 2; c.names[name]; n++ {
		name = pascal(command) + strconv.Itoa(n)
	}
	c.names[name] = true
	return name
}

// pascal writes words together: letters and digits only, beginning with a letter.
func pascal(text string) string {
	var b strings.Builder
	up := true
	for _, r := range text {
		switch {
		case r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
			continue
		case up:
			r = unicode.ToUpper(r)
		}
		up = false
		b.WriteRune(r)
	}
	if b.Len() == 0 || unicode.IsDigit(rune(b.String()[0])) {
		return "C" + b.String()
	}
	return b.String()
}

// free is a name that no schema has.
func (c *components) free(name string) string {
	free := name
	for n := 2; c.schemas[free] != nil; n++ {
		free = name + strconv.Itoa(n)
	}
	return free
}

// borrow copies a schema of the API's own document, with all that it refers to.
func (c *components) borrow(from object, name string) {
	if c.schemas[name] != nil || from[name] == nil {
		return
	}
	c.schemas[name] = from[name]
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if to, ok := v["$ref"].(string); ok {
				c.borrow(from, strings.TrimPrefix(to, "#/components/schemas/"))
			}
			for _, sub := range v {
				walk(sub)
			}
		case []any:
			for _, sub := range v {
				walk(sub)
			}
		}
	}
	walk(from[name])
}

// add adds the schema of a command and returns the reference to it. Its
// definitions become schemas beside it, since few generators find them inside.
func (c *components) add(name string, text json.RawMessage) any {
	var root any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&root) != nil { // the cloud has compiled it
		return object{}
	}
	s, ok := root.(object)
	if !ok { // true or false
		if root == false {
			return object{"not": object{}}
		}
		return object{}
	}
	name = c.free(name)
	c.schemas[name] = s
	r := &refs{root: name, moved: map[string]string{}, anchors: map[string]string{}}
	for _, section := range []string{"$defs", "definitions"} {
		defs, _ := s[section].(object)
		for key, def := range defs {
			at := c.free(name + pascal(key))
			c.schemas[at] = def
			r.moved[section+"/"+pointer(key)] = at
		}
		delete(s, section)
	}
	all := []object{s}
	at := []string{name}
	for _, to := range r.moved {
		if def, ok := c.schemas[to].(object); ok {
			all, at = append(all, def), append(at, to)
		} else {
			c.schemas[to] = object{} // true; false is as rare as it is of no use
		}
	}
	for i, schema := range all {
		subschemas(schema, "/components/schemas/"+at[i], func(s object, where string) {
			for _, key := range []string{"$anchor", "$dynamicAnchor"} {
				if anchor, ok := s[key].(string); ok {
					r.anchors[anchor] = where
				}
				delete(s, key)
			}
			delete(s, "$id")
			delete(s, "$schema")
			delete(s, "$vocabulary")
		})
	}
	for i, schema := range all {
		subschemas(schema, "/components/schemas/"+at[i], func(s object, _ string) {
			if to, ok := s["$dynamicRef"].(string); ok {
				s["$ref"] = to
				delete(s, "$dynamicRef")
			}
			if to, ok := s["$ref"].(string); ok {
				s["$ref"] = r.to(to)
			}
		})
	}
	return ref("schemas", name)
}

// refs say where the parts of a schema are now.
type refs struct {
	root    string            // the component that it is
	moved   map[string]string // definitions: "$defs/KEY" to the component
	anchors map[string]string // to a pointer
}

// to is a reference of the schema, as one of the document.
func (r *refs) to(text string) string {
	_, fragment, ok := strings.Cut(text, "#")
	if !ok { // by an id: there is one document only
		return "#/components/schemas/" + r.root
	}
	path, ok := strings.CutPrefix(fragment, "/")
	if !ok {
		if at := r.anchors[fragment]; at != "" {
			return "#" + at
		}
		return "#/components/schemas/" + r.root
	}
	section, rest, _ := strings.Cut(path, "/")
	key, rest, deeper := strings.Cut(rest, "/")
	if at := r.moved[section+"/"+key]; at != "" {
		if deeper {
			at += "/" + rest
		}
		return "#/components/schemas/" + at
	}
	return "#/components/schemas/" + r.root + "/" + path
}

// pointer is a key in a JSON pointer (RFC 6901).
func pointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// Where schemas are within a schema (JSON Schema 2020-12, section 10).
var (
	schemaMaps  = []string{"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
	schemaLists = []string{"allOf", "anyOf", "oneOf", "prefixItems", "items"}
	schemaOnes  = []string{"items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "not", "if", "then", "else", "contentSchema"}
)

// subschemas calls fn with a schema and all within it, which are where a JSON
// pointer says. What is no schema, as a constant or an example, is left alone.
func subschemas(s object, where string, fn func(object, string)) {
	fn(s, where)
	visit := func(v any, at string) {
		if sub, ok := v.(object); ok {
			subschemas(sub, where+at, fn)
		}
	}
	for _, key := range schemaMaps {
		if m, ok := s[key].(object); ok {
			for name, sub := range m {
				visit(sub, "/"+key+"/"+pointer(name))
			}
		}
	}
	for _, key := range schemaLists {
		if l, ok := s[key].([]any); ok {
			for i, sub := range l {
				visit(sub, "/"+key+"/"+strconv.Itoa(i))
			}
		}
	}
	for _, key := range schemaOnes {
		visit(s[key], "/"+key)
	}
}
