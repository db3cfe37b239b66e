package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
	"github.com/stack4things/s4t/wire"
)

// TestBoardsOfBeforeAreInTheIndex: what the migration writes of labels and places is what is
// written now.
func TestBoardsOfBeforeAreInTheIndex(t *testing.T) {
	long := strings.Repeat("ü", 300)
	var insert []string
	places := []s4t.Location{{}, {Latitude: -90, Longitude: -180}, {Latitude: 90, Longitude: 180}, {Latitude: 38.1938, Longitude: 15.554}, {Latitude: -0.05, Longitude: -0.1}, {Latitude: 59.9, Longitude: 10.7}}
	insert = append(insert, `INSERT INTO projects (id, name, created_at, weight) VALUES ('p', 'lab', 1, 3)`)
	for i, at := range places {
		insert = append(insert, fmt.Sprintf(`INSERT INTO boards VALUES ('b%d', 'p', 'board%d', '', '{"long":"%s","a=b":"c","quote":"say \"it\""}', '%s', NULL, 1, '', 'offline', 0, 1, 0, '', '', '', '', 1, 0, 0, '', '', NULL, 1)`, i, i, long, jsonText(at)))
	}
	insert = append(insert, `INSERT INTO boards VALUES ('none', 'p', 'none', '', 'null', '', NULL, 1, '', 'offline', 0, 1, 0, '', '', '', '', 1, 0, 0, '', '', NULL, 1)`)
	onBothFromVersion(t, 5, insert, func(t *testing.T, db *DB) {
		view(t, db, func(tx *Tx) error {
			for k, v := range map[string]string{"long": long, "a=b": "c", "quote": `say "it"`} {
				l, err := tx.Boards("p", "", map[string]string{k: v}, wire.Page{})
				same(t, "boards with "+k, len(l.Items), err, len(places))
			}
			for i, at := range places {
				c := geo.Cell(at)
				found, err := tx.BookableOf("p", nil, []geo.Range{{First: c, Last: c}})
				if err != nil {
					return err
				}
				var names []string
				for _, b := range found {
					names = append(names, b.Name)
				}
				if want := fmt.Sprint("board", i); len(names) != 1 || names[0] != want {
					t.Errorf("at %v are %v, not %s", at, names, want)
				}
			}
			return nil
		})
	})
}

func TestBoardsAreFoundByLabelsAndCells(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		rome := &s4t.Location{Latitude: 41.9, Longitude: 12.5}
		var b Board
		for i := range 6 {
			b = Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: fmt.Sprint("lamp", i), Project: w.project.ID, Labels: map[string]string{"kind": "lamp", "n": fmt.Sprint(i % 2)}, CreatedAt: fromMicros(1)}}
			if i < 3 {
				b.Location = rome
			}
			write(t, db, func(tx *Tx) error { return tx.InsertBoard(b) })
		}
		find := func(want int, labels map[string]string, cells []geo.Range) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				found, err := tx.BookableOf(w.project.ID, labels, cells)
				same(t, fmt.Sprint(labels, cells), len(found), err, want)
				return nil
			})
		}
		there, lamp := geo.Around(*rome, 1), map[string]string{"kind": "lamp"}
		find(6, lamp, nil)
		find(3, lamp, there)
		find(2, map[string]string{"kind": "lamp", "n": "0"}, there)
		find(0, lamp, []geo.Range{})
		find(5, nil, geo.Around(*rome, 20000)) // more ranges than a statement has; the world has two
		b.Labels, b.Location = map[string]string{"kind": "gate"}, rome
		write(t, db, func(tx *Tx) error { return tx.DescribeBoard(b) })
		find(5, lamp, nil)
		find(1, map[string]string{"kind": "gate"}, there)
		b.Labels, b.Location = nil, nil
		write(t, db, func(tx *Tx) error { return tx.DescribeBoard(b) })
		find(0, map[string]string{"kind": "gate"}, nil)
		write(t, db, func(tx *Tx) error { return tx.DeleteBoard(b.ID) })
	})
}
