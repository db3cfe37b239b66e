package s4t

import (
	"strings"
	"unicode"
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
		if r == utf8.RuneError || r == ' ' || unicode.IsPrint(r) {
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
