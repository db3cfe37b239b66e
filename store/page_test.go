package store

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// projectsByAge is a list of two keys, text and number.
var projectsByAge = order[s4t.Project]{"created_at, id", func(p s4t.Project) []any { return []any{micros(p.CreatedAt), string(p.ID)} }}

func projectPage(tx *Tx, p wire.Page, f filter) (wire.List[s4t.Project], error) {
	return page(tx, "list projects", p, projectsByAge, scanProject, `SELECT `+projectColumns+` FROM projects`, f)
}

func TestPagesShowEachRowOnceWhileOthersComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var want []string
		write(t, db, func(tx *Tx) error {
			for i := range 20 {
				p := newProject(fmt.Sprintf("p%02d", i))
				want = append(want, p.Name)
				if err := tx.InsertProject(p); err != nil {
					return err
				}
			}
			return nil
		})
		slices.Sort(want)
		var got []string
		var next wire.Page
		for n := 0; ; n++ {
			next.Limit = 3
			var list wire.List[s4t.Project]
			view(t, db, func(tx *Tx) (err error) {
				list, err = projectPage(tx, next, filter{})
				return err
			})
			for _, p := range list.Items {
				got = append(got, p.Name)
			}
			if list.Next == "" {
				break
			}
			if len(list.Items) != 3 {
				t.Fatalf("a page of %d with another after it", len(list.Items))
			}
			// The row that the next page begins after goes.
			write(t, db, func(tx *Tx) error { return tx.DeleteProject(list.Items[2].ID) })
			next.After = list.Next
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAPageIsFilteredAndBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			for i := range 3 {
				if err := tx.InsertProject(newProject(fmt.Sprintf("p%d", i))); err != nil {
					return err
				}
			}
			_, err := tx.InsertEvents([]s4t.Event{{Kind: "a"}, {Kind: "b"}})
			return err
		})
		good := cursor([]any{int64(1), "x"})
		tests := []struct {
			name string
			page wire.Page
			f    filter
			want int // -1: Invalid
		}{
			{"all", wire.Page{}, filter{}, 3},
			{"exactly all", wire.Page{Limit: 3}, filter{}, 3},
			{"the most", wire.Page{Limit: wire.MaxPage}, filter{}, 3},
			{"filtered", wire.Page{}, equal(filter{}, "name", "p1"), 1},
			{"not filtered", wire.Page{}, equal(filter{}, "name", s4t.ProjectID("")), 3},
			{"after a cursor", wire.Page{After: good}, equal(filter{}, "name", "p1").and("id <> ? OR id = ?", "y", "z"), 1},
			{"too many", wire.Page{Limit: wire.MaxPage + 1}, filter{}, -1},
			{"fewer than none", wire.Page{Limit: -1}, filter{}, -1},
			{"no base64", wire.Page{After: "!"}, filter{}, -1},
			{"no JSON", wire.Page{After: base64.RawURLEncoding.EncodeToString([]byte("x"))}, filter{}, -1},
			{"of another list", wire.Page{After: cursor([]any{"x", "y"})}, filter{}, -1},
			{"too few keys", wire.Page{After: cursor([]any{int64(1)})}, filter{}, -1},
			{"too many keys", wire.Page{After: cursor([]any{int64(1), "x", "y"})}, filter{}, -1},
			{"no number", wire.Page{After: cursor([]any{1.5, "x"})}, filter{}, -1},
			{"nothing", wire.Page{After: cursor([]any{nil, nil})}, filter{}, -1},
			{"text that cannot be stored", wire.Page{After: cursor([]any{int64(1), "a\x00"})}, filter{}, -1},
			{"long", wire.Page{After: strings.Repeat("A", 1<<20)}, filter{}, -1},
		}
		for _, tt := range tests {
			err := db.View(t.Context(), func(tx *Tx) error {
				list, err := projectPage(tx, tt.page, tt.f)
				if err == nil && (len(list.Items) != tt.want || list.Next != "" || list.EventID != 2) {
					t.Errorf("%s: %d items, next %q, event %d; want %d items", tt.name, len(list.Items), list.Next, list.EventID, tt.want)
				}
				return err
			})
			if tt.want < 0 && (s4t.KindOf(err) != s4t.Invalid || len(err.Error()) > 300) || tt.want >= 0 && err != nil {
				t.Errorf("%s: %v (%s)", tt.name, err, s4t.KindOf(err))
			}
		}
	})
}
