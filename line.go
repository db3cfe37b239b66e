package s4t

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line makes text from outside fit to be kept and shown as one line of at most
// n bytes: valid UTF-8, cut between letters, with a space for every character
// that does not print: control characters and those that turn the direction of
// writing.
func Line(text string, n int) string {
	if len(text) > 4*n { // what is cut away anyway need not be looked at
		text = text[:4*n]
	}
	text = strings.Map(func(r rune) rune {
		if Prints(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, ""))
	for len(text) > n {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return strings.TrimSpace(text)
}

// Prints reports whether a character from outside may be shown as it is: it is
// neither a control character nor one that turns the direction of writing.
func Prints(r rune) bool { return r == utf8.RuneError || r == ' ' || unicode.IsPrint(r) }

// PlainJSON makes JSON fit for a terminal: what does not print in its strings is
// escaped (RFC 8259 section 7). It means the same.
func PlainJSON(text []byte) []byte {
	return EscapeUnprinted(text, func(r rune) string {
		if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// EscapeUnprinted replaces each character that does not print, but for newlines.
func EscapeUnprinted(text []byte, escape func(rune) string) []byte {
	var out []byte // nil while nothing had to be escaped
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch plain := Prints(r) || r == '\n'; {
		case plain && out != nil:
			out = append(out, text[i:i+size]...)
		case !plain:
			if out == nil {
				out = append(make([]byte, 0, len(text)+16), text[:i]...)
			}
			out = append(out, escape(r)...)
		}
		i += size
	}
	if out == nil {
		return text
	}
	return out
}
