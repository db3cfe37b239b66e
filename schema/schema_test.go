package schema

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
)

func mustCompile(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWhyAValueDoesNotFit, and where.
func TestWhyAValueDoesNotFit(t *testing.T) {
	s := mustCompile(t, `{"type":"object","required":["to"],"additionalProperties":false,"properties":{
		"to":{"type":"integer","maximum":9},"a/b":{"format":"ipv4"},"who":{"anyOf":[{"type":"null"},{"type":"object","properties":{"name":{"pattern":"^[a-z]+$"}}}]}}}`)
	for value, want := range map[string]string{
		`{"to":3}`:                      "",
		`{"to":3,"who":{"name":"mia"}}`: "",
		`{}`:                            "missing property 'to'",
		`{"to":"x"}`:                    "/to: got string, want integer",
		`{"to":10}`:                     "/to: maximum: got 10, want 9",
		`{"to":1,"a/b":"x"}`:            "/a~1b: 'x' is not valid ipv4",
		`{"to":1,"who":{"name":"3"}}`:   "/who/name: '3' does not match pattern",
		`{"to":1,"b":1}`:                "additional properties 'b' not allowed",
		`{"to":1} {}`:                   "something follows",
		`{"to":`:                        "not JSON",
		`{"to":1e1000000000}`:           "too large",
	} {
		err := s.Validate([]byte(value))
		if want == "" && err != nil || want != "" && (s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// TestWhatCannotBeUsed: nothing is loaded, and nothing takes all memory.
func TestWhatCannotBeUsed(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":          `{`,
		"no schema":        `{"type":"strange"}`,
		"a list":           `[]`,
		"elsewhere":        `{"$ref":"https://example.com/schema.json"}`,
		"a file":           `{"$ref":"file:///etc/passwd"}`,
		"its own language": `{"$schema":"https://example.com/meta"}`,
		"nowhere":          `{"$ref":"#/$defs/none"}`,
		"a bad pattern":    `{"pattern":"("}`,
		"a huge pattern":   `{"pattern":"((a{100}){100}){9}"}`,
		"many patterns":    `{"patternProperties":{"` + strings.Repeat("a{900}x", 4) + `":{},"` + strings.Repeat("b{900}x", 20) + `":{}}}`,
		"a huge number":    `{"maximum":1e999999999}`,
		"depth":            strings.Repeat(`{"not":`, 200) + `{}` + strings.Repeat(`}`, 200),
	} {
		if _, err := Compile([]byte(text)); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Compile(make([]byte, s4t.MaxCommandSchema+1)); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("a long one: %v", err)
	}
}

// doubling leads from each of its parts to the next one twice.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{}}}`, n)
	return b.String()
}

// TestACheckEnds, whatever the schema.
func TestACheckEnds(t *testing.T) {
	for name, c := range map[string]struct{ schema, value string }{
		"references that double":     {doubling(64), `1`},
		"at each depth of the value": {`{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100)},
		"a value that is too deep":   {`true`, strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000)},
	} {
		err := mustCompile(t, c.schema).Validate([]byte(c.value))
		if s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := mustCompile(t, `{"items":{"type":"integer"},"uniqueItems":true}`)
	var list strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&list, ",%d", i)
	}
	if err := large.Validate([]byte("[" + list.String()[1:] + "]")); err != nil {
		t.Errorf("a large value of an ordinary schema: %v", err)
	}
}

// TestTheCacheIsBounded, and serves many at once.
func TestTheCacheIsBounded(t *testing.T) {
	c := NewCache(3)
	var using sync.WaitGroup
	for i := range 32 {
		using.Go(func() {
			s, err := c.Get(fmt.Appendf(nil, `{"maximum":%d}`, i%8))
			if err != nil {
				t.Error(err)
				return
			}
			if s.Validate([]byte("0")) != nil || s.Validate([]byte("9")) == nil {
				t.Errorf("schema %d does not check", i%8)
			}
		})
	}
	using.Wait()
	if c.order.Len() != 3 || len(c.found) != 3 {
		t.Errorf("it keeps %d, %d", c.order.Len(), len(c.found))
	}
	if _, err := c.Get([]byte(`{`)); err == nil {
		t.Error("what is no schema is one")
	}
}

// FuzzSchema: whatever a schema and a value are, to compile and to check ends.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"$ref":"#"}}}`), []byte(`{"a":{"a":1}}`))
	f.Add([]byte(doubling(40)), []byte(`{}`))
	f.Add([]byte(`{"pattern":"(a{9}){9}","multipleOf":1e-9}`), []byte(`"aaa"`))
	f.Add([]byte(`{"$dynamicRef":"#x","$dynamicAnchor":"x"}`), []byte(`[]`))
	f.Add([]byte(`{"unevaluatedItems":false,"contains":{"format":"date-time"}}`), []byte(`["2026-11-29T00:00:00Z",1e9]`))
	f.Fuzz(func(t *testing.T, text, value []byte) {
		s, err := Compile(text)
		if err != nil {
			return
		}
		if err := s.Validate(value); err != nil && s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%v", err)
		}
	})
}
