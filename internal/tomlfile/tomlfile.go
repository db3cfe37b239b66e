// Package tomlfile reads the configuration files of the programs.
package tomlfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/stack4things/s4t"
)

// MaxFile bounds a file, in bytes; what parses TOML takes memory for each level
// of nesting.
const MaxFile = 256 << 10

// maxText bounds what an error repeats of the file, in bytes.
const maxText = 200

// Decode reads text into cfg, over what is there. A key that cfg does not know
// is an error. op and hint are the error's: what was attempted, what to do.
func Decode(op, hint string, text []byte, cfg any) error {
	if len(text) > MaxFile {
		return s4t.Errorf(s4t.Invalid, op, hint, "it is longer than %d bytes", MaxFile)
	}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(cfg)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		e := strict.Errors[0]
		row, _ := e.Position()
		return s4t.Errorf(s4t.Invalid, op, hint, "line %d: there is no key %s", row, s4t.Line(strings.Join(e.Key(), "."), maxText))
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, col := e.Position()
		return s4t.Errorf(s4t.Invalid, op, hint, "line %d, column %d: %s", row, col, s4t.Line(strings.TrimPrefix(e.Error(), "toml: "), maxText))
	}
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	return nil
}

// Object returns a JSON object that may be written as a table of TOML or as JSON text;
// nil for nil.
func Object(v any) (json.RawMessage, error) {
	var text []byte
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		text = []byte(v)
	case map[string]any:
		made, err := json.Marshal(v)
		if err != nil { // a number that JSON has not: inf, nan
			return nil, err
		}
		text = made
	}
	var small bytes.Buffer
	if err := json.Compact(&small, text); err != nil || !bytes.HasPrefix(small.Bytes(), []byte("{")) {
		return nil, errors.New("write a table, or the text of a JSON object")
	}
	return small.Bytes(), nil
}

// TableLines returns the lines at which the tables [[NAME]] of a text begin, by name, for
// mistakes that show only when all is read. Decode has taken the text before.
func TableLines(text []byte) map[string][]int {
	lines := map[string][]int{}
	var p unstable.Parser
	for p.Reset(text); p.NextExpression(); {
		if e := p.Expression(); e.Kind == unstable.ArrayTable {
			key := e.Key()
			key.Next()
			name := string(key.Node().Data)
			lines[name] = append(lines[name], p.Shape(key.Node().Raw).Start.Line)
		}
	}
	return lines
}
