package api

import (
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// kindFilter chooses kinds of events. The zero value lets through all that are kept.
type kindFilter struct {
	said     bool
	exact    map[string]bool
	prefixes []string // "board."; empty: all
}

// maxKinds bounds a filter.
const maxKinds = 32

// parseKinds reads kinds with commas between them: "board.online", "bridge.*", "*". Steps of
// operations are no events that are kept, and told only where they are named.
func parseKinds(op, text string) (f kindFilter, err error) {
	if text == "" {
		return f, nil
	}
	f = kindFilter{said: true, exact: map[string]bool{}}
	words := strings.Split(text, ",")
	if len(words) > maxKinds {
		return f, s4t.Errorf(s4t.Invalid, op, "use *, or kinds like board.*", "%d kinds are more than %d", len(words), maxKinds)
	}
	for _, word := range words {
		word = strings.TrimSpace(word)
		switch prefix, all := strings.CutSuffix(word, "*"); {
		case all && (prefix == "" || strings.HasSuffix(prefix, ".")):
			f.prefixes = append(f.prefixes, prefix)
		case all, strings.Count(word, ".") != 1:
			return f, s4t.Errorf(s4t.Invalid, op, "use kinds like board.online, board.* or *", "%q is no kind of event", s4t.Line(word, s4t.MaxName))
		default:
			f.exact[word] = true
		}
	}
	return f, nil
}

// has reports whether an event that is kept gets through.
func (f kindFilter) has(kind string) bool {
	if !f.said || f.exact[kind] || kind == apiclient.EventReset {
		return true
	}
	for _, p := range f.prefixes {
		if strings.HasPrefix(kind, p) {
			return true
		}
	}
	return false
}

// steps reports whether steps of operations are asked for.
func (f kindFilter) steps() bool { return f.exact[apiclient.EventStep] }
