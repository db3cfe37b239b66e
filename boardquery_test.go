package s4t

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// boardSearches is the table that the dashboard's search is tested by too.
type boardSearches struct {
	Now     time.Time
	Boards  []Board
	Bridges map[BoardID][]string
	Cases   [][2]string
}

func readBoardSearches(t testing.TB) (table boardSearches) {
	text, err := os.ReadFile("dashboard/src/lib/search.cases.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestBoardQuery(t *testing.T) {
	table := readBoardSearches(t)
	for _, tt := range table.Cases {
		q, err := ParseBoardQuery(tt[0])
		if err != nil {
			t.Errorf("%q: %v", tt[0], err)
			continue
		}
		found := ""
		for i := range table.Boards {
			if b := &table.Boards[i]; q.Match(b, table.Now, table.Bridges[b.ID]) {
				found += string(b.ID)
			}
		}
		if found != tt[1] {
			t.Errorf("%q finds %q, not %q", tt[0], found, tt[1])
		}
	}
	for _, bad := range []string{strings.Repeat("x", MaxBoardQuery+1), "\xff", strings.Repeat("x ", MaxBoardQueryWords+1), "name:" + strings.Repeat("x,", MaxBoardQueryWords+1)} {
		if _, err := ParseBoardQuery(bad); KindOf(err) != Invalid {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func FuzzBoardQuery(f *testing.F) {
	table := readBoardSearches(f)
	for _, tt := range table.Cases {
		f.Add(tt[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseBoardQuery(text)
		if err != nil {
			if KindOf(err) != Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if len(q.terms) > MaxBoardQueryWords {
			t.Fatalf("%q has %d words", text, len(q.terms))
		}
		for i := range table.Boards {
			b := &table.Boards[i]
			q.Match(b, table.Now, table.Bridges[b.ID])
			for _, term := range q.terms { // a word and its contrary never both hold
				one := BoardQuery{[]boardTerm{term}}
				term.not = !term.not
				if one.Match(b, table.Now, nil) == (BoardQuery{[]boardTerm{term}}).Match(b, table.Now, nil) {
					t.Fatalf("%q: %+v and its contrary", text, term)
				}
			}
		}
	})
}
