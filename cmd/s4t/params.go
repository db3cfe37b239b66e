package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
)

// paramSchema is what the command line looks at in the JSON Schema of parameters.
type paramSchema struct {
	Ref        string                     `json:"$ref"`
	Type       json.RawMessage            `json:"type"` // a name, or several
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Items      json.RawMessage            `json:"items"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
	OneOf      []json.RawMessage          `json:"oneOf"`
	Enum       []json.RawMessage          `json:"enum"`
	Const      json.RawMessage            `json:"const"`
}

// maxRefs bounds how far references are followed: they may go round.
const maxRefs = 8

// schemaOf reads a schema, or what it refers to within the document.
func schemaOf(document, text json.RawMessage) (s paramSchema) {
	for range maxRefs {
		s = paramSchema{}
		if json.Unmarshal(text, &s) != nil {
			return paramSchema{} // true, false: anything
		}
		path, ok := strings.CutPrefix(s.Ref, "#/")
		if !ok {
			return s
		}
		text = document
		for key := range strings.SplitSeq(path, "/") {
			var m map[string]json.RawMessage
			if json.Unmarshal(text, &m) != nil {
				return paramSchema{}
			}
			text = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
		}
	}
	return s
}

// types are the types that a value may have; none: not said.
func (s paramSchema) types(document json.RawMessage) (list []string) {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return []string{one}
	}
	if json.Unmarshal(s.Type, &list) == nil {
		return list
	}
	for _, text := range slices.Concat(s.AnyOf, s.OneOf) {
		sub := schemaOf(document, text)
		if sub.AnyOf == nil && sub.OneOf == nil { // no deeper: it may go round
			list = append(list, sub.types(document)...)
		}
	}
	for _, value := range append(slices.Clone(s.Enum), s.Const) {
		if t := typeOfValue(value); t != "" && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// typeOfValue is the type of a JSON value.
func typeOfValue(value json.RawMessage) string {
	text := string(bytes.TrimSpace(value))
	switch {
	case text == "":
		return ""
	case text == "null":
		return "null"
	case text == "true" || text == "false":
		return "boolean"
	}
	switch text[0] {
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	}
	return "number"
}

// typedParams adds K=V to parameters, each as the schema of the command says.
func typedParams(cmd *cobra.Command, schema, base json.RawMessage, pairs []string) (json.RawMessage, error) {
	params := map[string]json.RawMessage{}
	if err := json.Unmarshal(base, &params); err != nil {
		return nil, usage(cmd, "with K=V the parameters of --json are an object")
	}
	all := schemaOf(schema, schema)
	for _, pair := range pairs {
		key, text, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usage(cmd, "%q is not K=V", pair)
		}
		value, err := typedValue(schema, schemaOf(schema, all.Properties[key]), text)
		if err != nil {
			return nil, usage(cmd, "%s=%s: %s", key, s4t.Line(text, s4t.MaxName), err)
		}
		params[key] = value
	}
	b, err := json.Marshal(params)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "encode the parameters", "", "%w", err)
	}
	return b, nil
}

// typedValue is a value of a schema as somebody typed it: the first type that it can
// be. What it cannot be is left to the cloud, which says why.
func typedValue(document json.RawMessage, s paramSchema, text string) (json.RawMessage, error) {
	types := s.types(document)
	slices.SortStableFunc(types, func(a, b string) int { return rank(a) - rank(b) })
	for _, t := range types {
		switch t {
		case "integer", "number":
			if n := typeOfValue(json.RawMessage(text)); n == "number" && json.Valid([]byte(text)) {
				return json.RawMessage(strings.TrimSpace(text)), nil
			}
			if n, err := strconv.ParseFloat(text, 64); err == nil { // +3, 0x10p2, .5
				if b, err := json.Marshal(n); err == nil {
					return b, nil
				}
			}
		case "boolean":
			switch strings.ToLower(text) {
			case "true", "yes", "on", "1":
				return json.RawMessage("true"), nil
			case "false", "no", "off", "0":
				return json.RawMessage("false"), nil
			}
		case "null":
			if text == "null" || text == "" {
				return json.RawMessage("null"), nil
			}
		case "array":
			if typeOfValue(json.RawMessage(text)) == "array" && json.Valid([]byte(text)) {
				return json.RawMessage(text), nil
			}
			return typedList(document, s, text)
		case "object":
			if typeOfValue(json.RawMessage(text)) == "object" && json.Valid([]byte(text)) {
				return json.RawMessage(text), nil
			}
		case "string":
			return json.Marshal(text)
		}
	}
	if len(types) == 1 {
		return nil, s4t.Errorf(s4t.Invalid, "", "", "it is to be of the type %s", types[0])
	}
	return json.Marshal(text)
}

// rank orders types: those that fewest texts can be come first.
func rank(t string) int {
	return slices.Index([]string{"null", "integer", "number", "boolean", "object", "array", "string"}, t)
}

// typedList is a list as somebody typed it: a,b,c.
func typedList(document json.RawMessage, s paramSchema, text string) (json.RawMessage, error) {
	list := []json.RawMessage{}
	item := schemaOf(document, s.Items)
	if text != "" {
		for part := range strings.SplitSeq(text, ",") {
			v, err := typedValue(document, item, part)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	return json.Marshal(list)
}

// paramsText says what a command takes in a few words: "times=integer [colour=string]".
func paramsText(c s4t.Command) string {
	s := schemaOf(c.Params, c.Params)
	var need, may []string
	for key := range s.Properties {
		t := strings.Join(schemaOf(c.Params, s.Properties[key]).types(c.Params), "|")
		if t == "" {
			t = "any"
		}
		if slices.Contains(s.Required, key) {
			need = append(need, key+"="+t)
		} else {
			may = append(may, "["+key+"="+t+"]")
		}
	}
	slices.Sort(need)
	slices.Sort(may)
	return strings.Join(append(need, may...), " ")
}
