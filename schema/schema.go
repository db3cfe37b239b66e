package schema

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Bounds.
const (
	maxDepth  = 128     // of arrays and objects in each other, of schemas and values
	maxNumber = 400     // characters of a number, and its exponent
	maxSteps  = 500_000 // of one check: some tenths of a second
	maxError  = 300     // bytes of why a value does not fit
)

// Schema is a compiled schema. It may be used by several goroutines, one after the
// other.
type Schema struct {
	mu       sync.Mutex // held while a value is checked: steps are of one
	compiled *jsonschema.Schema
	steps    *steps
}

// Compile compiles a schema. One that cannot be used is Invalid, one of more than
// s4t.MaxCommandSchema bytes TooMany.
func Compile(text []byte) (*Schema, error) {
	const op = "compile a JSON Schema"
	if len(text) > s4t.MaxCommandSchema {
		return nil, s4t.Errorf(s4t.TooMany, op, "", "it has %d bytes, at most %d are possible", len(text), s4t.MaxCommandSchema)
	}
	s, err := compile(text, nothing{})
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "%s", s4t.Line(err.Error(), maxError))
	}
	return s, nil
}

// location is where a schema is, for itself.
const location = "https://schema.invalid/command"

// compile compiles a schema; other documents come from a loader.
func compile(text []byte, loader jsonschema.URLLoader) (*Schema, error) {
	doc, err := decode(text)
	if err != nil {
		return nil, err
	}
	s := &Schema{steps: &steps{}}
	c := jsonschema.NewCompiler()
	c.UseLoader(loader)
	c.UseRegexpEngine(new(patterns).compile)
	c.AssertFormat()
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: stepsVocabulary, Compile: s.steps.compile})
	c.AssertVocabs()
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	s.compiled, err = c.Compile(location)
	return s, err
}

// nothing loads nothing.
type nothing struct{}

func (nothing) Load(url string) (any, error) {
	return nil, s4t.Errorf(s4t.Invalid, "load "+url, "put it under $defs", "a schema has all that it refers to")
}

// Validate checks a value, JSON. One that does not fit is Invalid; the error says
// where, as a JSON pointer, and why.
func (s *Schema) Validate(text []byte) error {
	const op = "check a value"
	v, err := decode(text)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "", "", "%s", s4t.Line(err.Error(), maxError))
	}
	switch err := s.check(v).(type) {
	case nil:
		return nil
	case *jsonschema.ValidationError:
		return s4t.Errorf(s4t.Invalid, "", "", "%s", s4t.Line(reason(err), maxError))
	default:
		return s4t.Errorf(s4t.Invalid, op, "", "%s", s4t.Line(err.Error(), maxError))
	}
}

func (s *Schema) check(v any) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps.left = maxSteps
	defer func() {
		if r := recover(); r != nil {
			if _, spent := r.(tooLong); !spent {
				panic(r)
			}
			err = s4t.Errorf(s4t.Invalid, "check a value", "make the schema simpler, or the value smaller", "it takes too long")
		}
	}()
	return s.compiled.Validate(v)
}

var english = message.NewPrinter(language.English)

// reason says what does not fit first, and where.
func reason(err *jsonschema.ValidationError) string {
	for len(err.Causes) > 0 {
		deepest := err.Causes[0] // of alternatives the one that went furthest
		for _, c := range err.Causes[1:] {
			if len(c.InstanceLocation) > len(deepest.InstanceLocation) {
				deepest = c
			}
		}
		err = deepest
	}
	var at strings.Builder
	for _, part := range err.InstanceLocation {
		at.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	if at.Len() == 0 {
		return err.ErrorKind.LocalizedString(english)
	}
	return at.String() + ": " + err.ErrorKind.LocalizedString(english)
}

// decode reads one JSON value of bounded depth, with numbers that can be reckoned
// with.
func decode(text []byte) (any, error) {
	const op = "read JSON"
	if wire.Deeper(text, maxDepth) {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "its arrays and objects are more than %d deep", maxDepth)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "it is not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "something follows the JSON value")
	}
	return v, numbers(v)
}

// numbers checks those in a value: an exact one with an exponent of a billion does
// not fit into memory.
func numbers(v any) error {
	switch v := v.(type) {
	case json.Number:
		exponent := 0
		if i := strings.IndexAny(string(v), "eE"); i >= 0 {
			var err error
			if exponent, err = strconv.Atoi(string(v[i+1:])); err != nil {
				exponent = maxNumber + 1
			}
		}
		if len(v) > maxNumber || max(exponent, -exponent) > maxNumber {
			return s4t.Errorf(s4t.Invalid, "read JSON", "", "the number %.20s... is too large or too long", v)
		}
	case []any:
		for _, item := range v {
			if err := numbers(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := numbers(item); err != nil {
				return err
			}
		}
	}
	return nil
}
