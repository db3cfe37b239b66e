package s4t

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a [BoardQuery].
const (
	MaxBoardQuery      = 1024 // bytes of its text
	MaxBoardQueryWords = 64   // and values, separately
)

// BoardQuery are the words that find boards: `status:offline label:site=messina !type:yun
// seen:>1d kitchen`. All of them hold; "!" before one means that it does not, a comma between
// values that any of them will do. The dashboard has the same grammar, in search.ts: one table
// tests both.
type BoardQuery struct {
	terms []boardTerm
}

// boardTerm is one word.
type boardTerm struct {
	not    bool
	key    string   // of boardKeys; empty: anywhere in name, type, labels
	values []string // in lower case
}

// boardKeys are what a word may begin with, before a colon.
var boardKeys = []string{"status", "label", "type", "name", "seen", "version", "arch", "agent", "problem", "bridge"}

// ParseBoardQuery reads the words. What is no key is looked for as it is, so that nothing is
// wrong with a text but its size.
func ParseBoardQuery(text string) (BoardQuery, error) {
	const op = "search boards"
	if len(text) > MaxBoardQuery || !utf8.ValidString(text) {
		return BoardQuery{}, Errorf(Invalid, op, "use a shorter text", "the search has %d bytes, at most %d of UTF-8 are allowed", len(text), MaxBoardQuery)
	}
	var q BoardQuery
	values := 0
	for text = strings.TrimLeftFunc(text, boardSpace); text != ""; text = strings.TrimLeftFunc(text, boardSpace) {
		var t boardTerm
		var ok bool
		if t, text, ok = cutBoardTerm(text); !ok {
			continue
		}
		q.terms = append(q.terms, t)
		if values += len(t.values); len(q.terms) > MaxBoardQueryWords || values > MaxBoardQueryWords {
			return BoardQuery{}, Errorf(Invalid, op, "use fewer words", "the search has more than %d words or values", MaxBoardQueryWords)
		}
	}
	return q, nil
}

// cutBoardTerm takes the first word off a text that does not begin with space; there is none
// where it is an empty pair of quotes.
func cutBoardTerm(text string) (t boardTerm, rest string, ok bool) {
	word := func(s string) bool { return s != "" && !boardSpace(firstRune(s)) }
	if rest, is := strings.CutPrefix(text, "!"); is && word(rest) {
		t.not, text = true, rest
	} else if rest, is := strings.CutPrefix(text, "-"); is {
		if head, _, colon := strings.Cut(rest, ":"); colon && isBoardKey(head) {
			t.not, text = true, rest
		}
	}
	unknown := ""
	if head, after, colon := strings.Cut(text, ":"); colon && isBoardKey(head) && word(after) {
		text = after
		if slices.Contains(boardKeys, head) {
			t.key = head
		} else {
			unknown = head + ":"
		}
	}
	end := strings.IndexFunc(text, boardSpace)
	if text[0] == '"' {
		if end = strings.IndexByte(text[1:], '"'); end >= 0 {
			end += 2
		}
	}
	if end < 0 {
		end = len(text)
	}
	value := strings.TrimSuffix(strings.TrimPrefix(text[:end], `"`), `"`)
	if value = unknown + value; value == "" {
		return t, text[end:], false
	}
	t.values = []string{strings.ToLower(value)}
	if t.key != "" {
		t.values = slices.DeleteFunc(strings.Split(t.values[0], ","), func(v string) bool { return v == "" })
	}
	return t, text[end:], true
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// isBoardKey reports whether a text has the form of a key.
func isBoardKey(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// boardSpace is what ECMAScript takes for white space.
func boardSpace(r rune) bool { return unicode.IsSpace(r) && r != 0x85 || r == 0xfeff }

// Empty reports whether it finds all boards, having no word.
func (q BoardQuery) Empty() bool { return len(q.terms) == 0 }

// Has reports whether any word of the query has one of the keys; "" is that of a word without one.
func (q BoardQuery) Has(keys ...string) bool {
	return slices.ContainsFunc(q.terms, func(t boardTerm) bool { return slices.Contains(keys, t.key) })
}

// Match reports whether a board is found at a time; bridges are the names of those that it is on.
func (q BoardQuery) Match(b *Board, now time.Time, bridges []string) bool {
	for _, t := range q.terms {
		if slices.ContainsFunc(t.values, func(v string) bool { return t.match(v, b, now, bridges) }) == t.not {
			return false
		}
	}
	return true
}

func (t boardTerm) match(v string, b *Board, now time.Time, bridges []string) bool {
	is := func(s string) bool { return strings.ToLower(s) == v }
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), v) }
	switch t.key {
	case "status":
		return string(b.Status) == v
	case "type":
		return is(b.Type)
	case "name":
		return has(b.Name)
	case "label":
		key, want, valued := strings.Cut(v, "=")
		for k, value := range b.Labels {
			if strings.ToLower(k) == key && (!valued || strings.ToLower(value) == want) {
				return true
			}
		}
		return false
	case "version":
		return strings.HasPrefix(strings.ToLower(b.Info.Version), v)
	case "arch":
		return is(b.Info.Arch)
	case "agent":
		return is(string(b.WAMPAgent)) || is(string(b.TunnelAgent))
	case "problem":
		return v == "*" && len(b.Problems) > 0 || slices.ContainsFunc(b.Problems, has)
	case "bridge":
		return slices.ContainsFunc(bridges, is)
	case "seen":
		return matchSeen(v, b, now)
	}
	if has(b.Name) || has(b.Type) {
		return true
	}
	for k, value := range b.Labels {
		if has(k + "=" + value) {
			return true
		}
	}
	return false
}

// matchSeen is longer ago than ">1d", or since "<1h".
func matchSeen(v string, b *Board, now time.Time) bool {
	since := strings.HasPrefix(v, "<")
	within, ok := boardAge(strings.TrimPrefix(strings.TrimPrefix(v, "<"), map[bool]string{false: ">"}[since]))
	switch {
	case !ok:
		return false
	case b.Status == BoardOnline:
		return since
	case b.LastSeen == nil:
		return strings.HasPrefix(v, ">")
	}
	ago := float64(now.UnixMilli() - b.LastSeen.UnixMilli())
	return ago < within == since
}

// boardAge reads 90s, 15m, 2h, 1d, 1.5w, in milliseconds.
func boardAge(text string) (float64, bool) {
	if text == "" {
		return 0, false
	}
	unit := map[byte]float64{'s': 1e3, 'm': 60e3, 'h': 3600e3, 'd': 86400e3, 'w': 7 * 86400e3}[text[len(text)-1]]
	number := text[:len(text)-1]
	whole, part, point := strings.Cut(number, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if unit == 0 || !digits(whole) || point && !digits(part) {
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		n = math.Inf(1) // too many digits
	}
	return n * unit, true
}
