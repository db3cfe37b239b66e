package store

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestPagesShowEachRowOnceWhileOthersComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		const rows = 20
		write(t, db, func(tx *Tx) error {
			for i := range rows { // three at a time
				if err := tx.InsertAudit(s4t.AuditRecord{At: at.Add(time.Duration(i/3) * time.Second), Name: fmt.Sprint(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		var got []string
		for next := (wire.Page{Limit: 4}); ; {
			var list wire.List[s4t.AuditRecord]
			view(t, db, func(tx *Tx) (err error) {
				list, err = tx.AuditRecords(AuditFilter{}, next)
				return err
			})
			for _, r := range list.Items {
				got = append(got, r.Name)
			}
			if list.Next == "" {
				break
			}
			if len(list.Items) != next.Limit {
				t.Fatalf("a page of %d with another after it", len(list.Items))
			}
			next.After = list.Next
			// The row that the next page begins after goes, and one comes before it.
			write(t, db, func(tx *Tx) error {
				if _, err := tx.exec("delete a record", `DELETE FROM audit WHERE id = ?`, list.Items[len(list.Items)-1].ID); err != nil {
					return err
				}
				return tx.InsertAudit(s4t.AuditRecord{At: at.Add(-time.Hour), Name: "early"})
			})
		}
		for i := range rows {
			if i >= len(got) || got[i] != fmt.Sprint(i) {
				t.Fatalf("got %v, want 0 to %d", got, rows-1)
			}
		}
		same(t, "rows", len(got), nil, rows)
	})
}

func TestAPageIsFilteredAndBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			for i := range 3 {
				if err := tx.InsertAudit(s4t.AuditRecord{At: at, Project: s4t.ProjectID(fmt.Sprintf("p%d", i))}); err != nil {
					return err
				}
			}
			tx.InsertEvents(s4t.Event{Kind: "a"}, s4t.Event{Kind: "b"})
			return nil
		})
		good := cursor([]any{int64(1), int64(1)})
		tests := []struct {
			name string
			page wire.Page
			f    filter
			want int // -1: Invalid
		}{
			{"all", wire.Page{}, filter{}, 3},
			{"exactly all", wire.Page{Limit: 3}, filter{}, 3},
			{"the most", wire.Page{Limit: wire.MaxPage}, filter{}, 3},
			{"filtered", wire.Page{}, equal(filter{}, "project", "p1"), 1},
			{"not filtered", wire.Page{}, equal(filter{}, "project", s4t.ProjectID("")), 3},
			{"after a cursor", wire.Page{After: good}, equal(filter{}, "project", "p1").and("name <> ? OR id = ?", "y", 1), 1},
			{"too many", wire.Page{Limit: wire.MaxPage + 1}, filter{}, -1},
			{"fewer than none", wire.Page{Limit: -1}, filter{}, -1},
			{"no base64", wire.Page{After: "!"}, filter{}, -1},
			{"no JSON", wire.Page{After: base64.RawURLEncoding.EncodeToString([]byte("x"))}, filter{}, -1},
			{"of another list", wire.Page{After: cursor([]any{"x", int64(1)})}, filter{}, -1},
			{"too few keys", wire.Page{After: cursor([]any{int64(1)})}, filter{}, -1},
			{"too many keys", wire.Page{After: cursor([]any{int64(1), int64(1), "y"})}, filter{}, -1},
			{"no number", wire.Page{After: cursor([]any{1.5, 1})}, filter{}, -1},
			{"nothing", wire.Page{After: cursor([]any{nil, nil})}, filter{}, -1},
			{"long", wire.Page{After: strings.Repeat("A", 1<<20)}, filter{}, -1},
		}
		for _, tt := range tests {
			err := db.View(t.Context(), func(tx *Tx) error {
				list, err := page(tx, "list records", tt.page, auditByTime, scanAudit, `SELECT `+auditColumns+` FROM audit`, tt.f)
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

func TestCursors(t *testing.T) {
	like := []any{"", int64(0)}
	keys := []any{`a "name", ☕`, int64(1)<<62 + 1}
	got, ok := parseCursor(cursor(keys), like)
	if !ok || !slices.Equal(got, keys) {
		t.Errorf("%v became %v", keys, got)
	}
	for _, bad := range [][]any{{"a\x00", 1}, {nil, 1}, {"a", "1"}, {"a"}, {}} {
		if got, ok := parseCursor(cursor(bad), like); ok {
			t.Errorf("%v became %v", bad, got)
		}
	}
}
