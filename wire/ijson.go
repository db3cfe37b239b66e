package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/stack4things/s4t"
)

// IJSON refuses a JSON text that two readers could take for two different things
// (RFC 7493, 2.1 and 2.3): an object with two members of one name, of which the schema
// would see one and a plugin the other, and half a surrogate pair, at which other
// parsers refuse the whole list that it is in. text is JSON.
func IJSON(text []byte) error {
	if loneSurrogate(text) {
		return errors.New(`a text has half a surrogate pair (\ud800 to \udfff)`)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type object struct {
		names map[string]bool // nil: an array
		value bool            // the next is the value of a member
	}
	var open []object
	for {
		t, err := d.Token()
		if err != nil {
			return nil // its end
		}
		top := len(open) - 1
		if name, is := t.(string); is && top >= 0 && open[top].names != nil && !open[top].value {
			if open[top].names[name] {
				return fmt.Errorf("two members are named %q", s4t.Line(name, s4t.MaxName))
			}
			open[top].names[name], open[top].value = true, true
			continue
		}
		switch t {
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
		switch t {
		case json.Delim('{'):
			open = append(open, object{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, object{})
		}
	}
}

// loneSurrogate reports whether an escape in a JSON text is half a pair.
func loneSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		u, is := escaped(text, i-1)
		if !is || u < 0xd800 || u > 0xdfff {
			continue
		}
		low, is := escaped(text, i+5)
		if u >= 0xdc00 || !is || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// escaped is the \uXXXX at an index.
func escaped(text []byte, at int) (uint64, bool) {
	if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
		return 0, false
	}
	u, err := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
	return u, err == nil
}
