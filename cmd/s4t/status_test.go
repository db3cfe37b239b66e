package main

import (
	"testing"
	"unicode/utf8"
)

func TestSparklines(t *testing.T) {
	point := func(v float64) *float64 { return &v }
	var rise []*float64
	for i := range 288 {
		rise = append(rise, point(float64(i)))
	}
	gap := append(append([]*float64{}, rise[:144]...), make([]*float64, 144)...)
	for _, c := range []struct {
		lang    string
		history []*float64
		first   rune
		last    rune
	}{
		{"en_US.UTF-8", rise, '▁', '▇'},
		{"C", rise, '_', '*'},
		{"", gap, '_', ' '},
		{"C.utf8", []*float64{point(3), point(3)}, ' ', '▁'},
	} {
		a := &app{env: func(key string) string {
			if key == "LANG" {
				return c.lang
			}
			return ""
		}}
		line := a.sparkline(c.history)
		first, _ := utf8.DecodeRuneInString(line)
		last, _ := utf8.DecodeLastRuneInString(line)
		if utf8.RuneCountInString(line) != sparkWidth || first != c.first || last != c.last {
			t.Errorf("in %q: %q", c.lang, line)
		}
	}
	if line := (&app{env: func(string) string { return "" }}).sparkline(make([]*float64, 288)); line != "" {
		t.Errorf("of nothing: %q", line)
	}
}
