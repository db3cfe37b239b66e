package s4t

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
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

// TestPlainJSONMeansTheSame, with no character left that commands a terminal or
// turns what is read.
func TestPlainJSONMeansTheSame(t *testing.T) {
	var all []rune
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) {
			all = append(all, r)
		}
	}
	text, err := json.MarshalIndent(map[string]string{"k\u202e": string(all)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	plain := PlainJSON(text)
	for _, r := range string(plain) {
		if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
			t.Fatalf("%U is there raw", r)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(plain, &back); err != nil || back["k\u202e"] != string(all) {
		t.Errorf("it is read as something else: %v", err)
	}
	if got := PlainJSON([]byte(`{"a":"é"}`)); string(got) != `{"a":"é"}` {
		t.Errorf("%s", got)
	}
}
