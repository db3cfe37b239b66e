package wire

// Deeper reports whether the arrays and objects of a JSON text nest deeper than most.
// It walks the brackets, without regard to whether the text is JSON, so that
// decoding it after that costs bounded stack and memory.
func Deeper(text []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}
