package td

import (
	"encoding/json"
	"strings"

	"github.com/stack4things/s4t"
)

// Action is a command.
type Action struct {
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Input       json.RawMessage `json:"input,omitempty"`  // data schema
	Output      json.RawMessage `json:"output,omitempty"` // data schema
	Safe        bool            `json:"safe"`
	Idempotent  bool            `json:"idempotent"`
	Synchronous bool            `json:"synchronous"`
	Forms       []Form          `json:"forms"`
}

// AddCommands adds the commands of a board as actions. What is known of their
// schemas goes as far as data schemas do: the cloud checks against the whole.
func (t *Thing) AddCommands(commands []s4t.Command) {
	for _, c := range commands {
		if t.Actions == nil {
			t.Actions = map[string]Action{}
		}
		t.Actions[c.Name] = Action{
			Title: c.Name, Description: c.Description, Input: dataSchema(c.Params), Output: dataSchema(c.Result), Synchronous: true,
			Forms: []Form{{Href: "commands/" + c.Name, ContentType: "application/json", Op: []string{"invokeaction"}, Method: "POST"}},
		}
	}
}

// Bounds of a data schema: references are written out, and may go round.
const (
	maxSchemaDepth = 12
	maxSchemaParts = 500
)

// dataSchema is what a JSON Schema says, in the vocabulary of data schemas (TD 1.1,
// section 5.3.2); nil: nothing.
func dataSchema(text json.RawMessage) json.RawMessage {
	var root any
	if len(text) == 0 || json.Unmarshal(text, &root) != nil {
		return nil
	}
	w := &schemaWriter{root: root, left: maxSchemaParts}
	out := w.write(root, 0)
	if len(out) == 0 {
		return nil
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return b
}

// plainTerms are those that both vocabularies have, with the same meaning.
var plainTerms = []string{
	"title", "description", "enum", "const", "default", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType", "minItems", "maxItems", "required",
}

// schemaWriter writes one schema.
type schemaWriter struct {
	root any
	left int // parts that may yet be written
}

// write makes a data schema of a part; what is beyond the bounds is anything.
func (w *schemaWriter) write(v any, depth int) map[string]any {
	out := map[string]any{}
	s, ok := v.(map[string]any)
	if w.left--; !ok || depth > maxSchemaDepth || w.left < 0 {
		return out
	}
	if to, ok := s["$ref"].(string); ok {
		return w.write(w.find(to), depth+1)
	}
	for _, term := range plainTerms {
		if value, ok := s[term]; ok {
			out[term] = value
		}
	}
	switch t := s["type"].(type) {
	case string:
		out["type"] = t
	case []any: // one of several
		var types []any
		for _, one := range t {
			types = append(types, map[string]any{"type": one})
		}
		out["oneOf"] = types
	}
	if l, ok := s["oneOf"].([]any); ok {
		var parts []any
		for _, part := range l {
			parts = append(parts, w.write(part, depth+1))
		}
		out["oneOf"] = parts
	}
	if m, ok := s["properties"].(map[string]any); ok {
		properties := map[string]any{}
		for name, part := range m {
			properties[name] = w.write(part, depth+1)
		}
		out["properties"] = properties
	}
	if part, ok := s["items"].(map[string]any); ok {
		out["items"] = w.write(part, depth+1)
	}
	return out
}

// find is what a reference within the schema leads to.
func (w *schemaWriter) find(to string) any {
	path, ok := strings.CutPrefix(to, "#")
	if !ok {
		return nil
	}
	v := w.root
	for key := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if path == "" {
			break
		}
		m, _ := v.(map[string]any)
		v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
	}
	return v
}
