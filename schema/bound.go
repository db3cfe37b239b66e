package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// stepsVocabulary has no keywords: its code is called for every part of a schema
// that a value is checked against.
const stepsVocabulary = "https://schema.invalid/steps"

// steps counts those of one check. A few "$ref"s that each lead to two others take
// for ever, which no bound of the size of a schema prevents.
type steps struct{ left int }

// tooLong is what the check panics with when they are spent: the library has no
// other way out.
type tooLong struct{}

// compile implements [jsonschema.Vocabulary] for one part of the schema.
func (s *steps) compile(_ *jsonschema.CompilerContext, part map[string]any) (jsonschema.SchemaExt, error) {
	width := 1
	for _, v := range part {
		width += 1 + size(v)
	}
	return &step{of: s, width: width}, nil
}

// step is a part of a schema.
type step struct {
	of    *steps
	width int // of what it says itself: branches, properties, values of an enum
}

// Validate implements [jsonschema.SchemaExt].
func (s *step) Validate(_ *jsonschema.ValidatorContext, v any) {
	n := size(v)
	if s.of.left -= s.width + n + s.width*n/16; s.of.left < 0 {
		panic(tooLong{})
	}
}

// size is how many items or properties a value has.
func size(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// maxPatterns bounds what the patterns of one schema compile to, in instructions:
// a few bytes of nested repetitions are megabytes of them.
const maxPatterns = 20_000

// patterns compiles those of one schema: RE2, whose time is linear.
type patterns struct{ spent int }

func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if p.spent += instructions(tree); p.spent > maxPatterns {
		return nil, fmt.Errorf("the patterns are too large")
	}
	return regexp.Compile(text)
}

// instructions is about how many a pattern compiles to, no more than a little above
// maxPatterns.
func instructions(tree *syntax.Regexp) int {
	n := 1 + len(tree.Rune)
	for _, sub := range tree.Sub {
		n += instructions(sub)
	}
	if tree.Op == syntax.OpRepeat {
		n *= max(1, tree.Min, tree.Max)
	}
	return min(n, maxPatterns+1)
}
