package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
)

// every is a schema with a property of each kind.
const every = `{"type":"object","required":["n"],"$defs":{"c":{"enum":["red","1"]},"round":{"$ref":"#/$defs/round"},"deep":{"anyOf":[{"anyOf":[{"type":"integer"}]}]}},"properties":{
	"n":{"type":"integer"},"x":{"type":"number"},"b":{"type":"boolean"},"s":{"type":"string"},"z":{"type":["string","null"]},"in":{"type":["string","integer"]},
	"l":{"type":"array","items":{"type":"integer"}},"ls":{"type":"array"},"o":{"type":"object"},"c":{"$ref":"#/$defs/c"},"round":{"$ref":"#/$defs/round"},"deep":{"$ref":"#/$defs/deep"},
	"any":{},"yes":true,"e":{"enum":[1,"a",null]},"k":{"const":false},"of":{"oneOf":[{"type":"boolean"},{"type":"string"}]}}}`

func TestParametersAreTypedByTheSchema(t *testing.T) {
	for _, c := range []struct{ pair, want string }{
		{"n=3", `3`}, {"n=-0", `-0`}, {"n=+3", `3`}, {"n=123456789012345678901", `123456789012345678901`}, {"n=1.5", `1.5`}, {"n= 3", `3`},
		{"x=.5", `0.5`}, {"x=1e3", `1e3`}, {"x=0x10p2", `64`},
		{"b=true", `true`}, {"b=Yes", `true`}, {"b=off", `false`}, {"b=0", `false`},
		{"s=12", `"12"`}, {"s=", `""`}, {"s=a=b", `"a=b"`}, {"s=null", `"null"`}, {"s=日本é", `"日本é"`}, {"s=\"q\"", `"\"q\""`},
		{"z=null", `null`}, {"z=", `null`}, {"z=x", `"x"`}, {"in=3", `3`}, {"in=3a", `"3a"`},
		{"l=1,2", `[1,2]`}, {"l=", `[]`}, {"l=[1, 2]", `[1,2]`}, {"ls=a,1", `["a","1"]`}, {"o={\"a\": 1}", `{"a":1}`},
		{"c=red", `"red"`}, {"c=1", `"1"`}, {"round=1", `"1"`}, {"deep=1", `"1"`}, {"any=1", `"1"`}, {"yes=1", `"1"`}, {"other=1", `"1"`},
		{"e=1", `1`}, {"e=a", `"a"`}, {"e=null", `null`}, {"k=false", `false`}, {"of=true", `true`}, {"of=x", `"x"`},
		{"n=x", ""}, {"n=", ""}, {"n=NaN", ""}, {"n=Inf", ""}, {"b=2", ""}, {"l=1,x", ""}, {"o=x", ""}, {"o=[1]", ""}, {"o={", ""}, {"n", ""}, {"=3", ""},
	} {
		got, err := typedParams(&cobra.Command{Use: "run"}, json.RawMessage(every), json.RawMessage(`{"kept":[1]}`), []string{c.pair})
		if c.want == "" {
			if s4t.KindOf(err) != s4t.Invalid && exitStatus(err) != 2 {
				t.Errorf("%s: %s, %v", c.pair, got, err)
			}
			continue
		}
		var all map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(got, &all)
		}
		key, _, _ := strings.Cut(c.pair, "=")
		if err != nil || string(all[key]) != c.want || string(all["kept"]) != "[1]" || len(all) != 2 {
			t.Errorf("%s: %s, %v; want %s", c.pair, got, err, c.want)
		}
	}
	for _, schema := range []string{``, `null`, `true`, `{}`, `[]`, `{"properties":{"a":{"$ref":"https://example.org/"}}}`, `{"properties":{"a":{"$ref":"#/nowhere/x"}}}`} {
		got, err := typedParams(&cobra.Command{Use: "run"}, json.RawMessage(schema), json.RawMessage(`{}`), []string{"a=1"})
		if err != nil || string(got) != `{"a":"1"}` {
			t.Errorf("schema %s: %s, %v", schema, got, err)
		}
	}
	if _, err := typedParams(&cobra.Command{Use: "run"}, nil, json.RawMessage(`[1]`), []string{"a=1"}); err == nil {
		t.Error("a list takes K=V")
	}
}

func TestParametersInAFewWords(t *testing.T) {
	const want = "n=integer [any=any] [b=boolean]"
	if got := paramsText(s4t.Command{Params: json.RawMessage(every)}); !strings.HasPrefix(got, want) {
		t.Errorf("%q does not begin with %q", got, want)
	}
	if got := paramsText(s4t.Command{}); got != "" {
		t.Errorf("of a command without any: %q", got)
	}
}

func TestAResultIsPrintedWhole(t *testing.T) {
	var b bytes.Buffer
	a := &app{stdout: &b, format: "table"}
	text := "  in\ttwo\x1b[31m\r\nlines" + strings.Repeat("x", 2*maxLine) + "\n"
	result, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.printResult(result); err != nil {
		t.Fatal(err)
	}
	if want := "  in\ttwo [31m\nlines" + strings.Repeat("x", 2*maxLine) + "\n"; b.String() != want {
		t.Errorf("%d bytes, %.60q", b.Len(), b.String())
	}
}
