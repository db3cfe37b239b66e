package s4t

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00b\nc": "a b c", "x\u202ey": "x y", "caf\xc3": "caf", "\x1b[31mred": "[31mred", "  padded  ": "padded", "\u009b1m": "1m",
	} {
		if got := Line(text, 99); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := Line(strings.Repeat("é", 9), 5); got != "éé" {
		t.Errorf("cut in the midst of a letter: %q", got)
	}
}

// FuzzLine: it is one printable line within its bound, and stays as it is.
func FuzzLine(f *testing.F) {
	f.Add("a\x00b", 3)
	f.Add("é\u2028\xff", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n &= 0xfff
		l := Line(s, n)
		if len(l) > n || !utf8.ValidString(l) || strings.ContainsAny(l, "\x00\n\r\x1b\u202e\u2028") || Line(l, n) != l {
			t.Errorf("%q, %d: %q", s, n, l)
		}
	})
}
