package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// pinBoards are boards of a project, the first half of which reported pins of so
// many bytes.
func pinBoards(t *testing.T, db *DB, n, bytes int) (ids []s4t.BoardID, pins string) {
	pins = `[{"name":"` + strings.Repeat("x", bytes-13) + `"}]`
	write(t, db, func(tx *Tx) error {
		ids = nil
		if err := tx.InsertProject(s4t.Project{ID: "pins", Name: "pins", Weight: 1, CreatedAt: at}); err != nil {
			return err
		}
		for i := range n {
			id := s4t.BoardID(s4t.NewID())
			ids = append(ids, id)
			if err := tx.InsertBoard(Board{Board: s4t.Board{ID: id, Name: fmt.Sprintf("board%04d", i), Project: "pins", Labels: map[string]string{"n": "1"}, Status: s4t.BoardRegistered, CreatedAt: at}}); err != nil {
				return err
			}
			if i >= n/2 {
				continue
			}
			if err := tx.SetBoardPins(id, []byte(pins), at); err != nil {
				return err
			}
		}
		return nil
	})
	return ids, pins
}

func TestTheCopyOfPins(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ids, pins := pinBoards(t, db, 4, 100)
		view(t, db, func(tx *Tx) error {
			p, err := tx.BoardPins(ids[0])
			same(t, "the copy", p, err, BoardPins{Pins: json.RawMessage(pins), Digest: DigestPins([]byte(pins)), ReportedAt: p.ReportedAt})
			same(t, "of when it is", *p.ReportedAt, err, at)
			d, err := tx.PinsDigest(ids[1])
			same(t, "its digest", d, err, p.Digest)
			p, err = tx.BoardPins(ids[3])
			same(t, "of a board that never said", p, err, BoardPins{})
			r, err := tx.Route(ids[2])
			same(t, "the way to a board", r, err, Route{ID: ids[2], Name: "board0002", Project: "pins", Status: s4t.BoardRegistered})
			for _, project := range []s4t.ProjectID{"pins", ""} {
				list, err := tx.PinBoards(project, wire.Page{}, 1<<20)
				same(t, "boards", len(list.Items), err, 4)
				named, err := tx.RoutesNamed(project, "board0002")
				same(t, "by its name", named, err, []Route{r})
			}
			list, err := tx.PinBoardsIn(ids[:2], wire.Page{}, 1<<20)
			same(t, "boards that are named", len(list.Items), err, 2)
			return nil
		})
		write(t, db, func(tx *Tx) error {
			for _, want := range []struct{ known, fence int64 }{{0, 1}, {0, 2}, {41, 42}, {7, 43}} {
				n, err := tx.NextFence(ids[3], want.known)
				same(t, "the next number of a claim", n, err, want.fence)
			}
			n, err := tx.NextFence(ids[0], 0)
			same(t, "of another board", n, err, 1)
			p, err := tx.BoardPins(ids[3])
			same(t, "numbers are no report", p, err, BoardPins{})
			if err := tx.SetBoardPins(ids[3], []byte("[]"), at); err != nil {
				return err
			}
			n, err = tx.NextFence(ids[3], 0)
			same(t, "after a report", n, err, 44)
			return nil
		})
		write(t, db, func(tx *Tx) error { // they go with the board
			if err := tx.DeleteBoard(ids[0]); err != nil {
				return err
			}
			p, err := tx.BoardPins(ids[0])
			same(t, "of a board that is gone", p, err, BoardPins{})
			return nil
		})
	})
}

// TestPagesOfPinsAreBoundedByTheirBytes, and by no number of boards where they are
// small.
func TestPagesOfPinsAreBoundedByTheirBytes(t *testing.T) {
	onBothURLs(t, func(t *testing.T, url string) {
		db := openUnwatched(t, url) // with so few rows PostgreSQL reads them all
		ids, pins := pinBoards(t, db, 60, 4000)
		read := func(size int, list func(tx *Tx, p wire.Page) (wire.List[PinBoard], error)) (pages int) {
			var names []string
			for p := (wire.Page{}); ; pages++ {
				var page wire.List[PinBoard]
				view(t, db, func(tx *Tx) (err error) { page, err = list(tx, p); return err })
				if n := len(wire.Encode(page)); n > size && len(page.Items) > 1 {
					t.Fatalf("a page has %d bytes, %d are allowed", n, size)
				}
				for _, b := range page.Items {
					names = append(names, b.Name)
					if want := b.Name < "board0030"; want != (string(b.Pins) == pins) || want != (b.ReportedAt != nil) {
						t.Fatalf("%s: %.60s, reported at %v", b.Name, b.Pins, b.ReportedAt)
					}
				}
				if p.After = page.Next; p.After == "" {
					break
				}
			}
			for i, name := range names {
				if want := fmt.Sprintf("board%04d", i); name != want || len(names) != 60 {
					t.Fatalf("%d boards; board %d is %s", len(names), i, name)
				}
			}
			return pages + 1
		}
		for _, size := range []int{6 << 20, 20_000, 1} {
			all := func(tx *Tx, p wire.Page) (wire.List[PinBoard], error) { return tx.PinBoards("pins", p, size) }
			some := func(tx *Tx, p wire.Page) (wire.List[PinBoard], error) { return tx.PinBoardsIn(ids, p, size) }
			n, m := read(size, all), read(size, some)
			if n != m || (size == 6<<20) != (n == 1) {
				t.Errorf("%d pages of all, %d of those that are named, of %d bytes", n, m, size)
			}
		}
		view(t, db, func(tx *Tx) error {
			list, err := tx.PinBoards("", wire.Page{Limit: 3}, 6<<20)
			same(t, "three of all projects", len(list.Items), err, 3)
			list, err = tx.PinBoardsIn(ids, wire.Page{Limit: 3}, 6<<20)
			same(t, "three of those that are named", len(list.Items), err, 3)
			if _, err := tx.PinBoardsIn(ids, wire.Page{After: "?"}, 1); s4t.KindOf(err) != s4t.Invalid {
				t.Errorf("after no cursor: %v", err)
			}
			return nil
		})
	})
}

func TestWhetherPinsMayHaveChanged(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var last int64
		tell := func(kinds ...string) {
			write(t, db, func(tx *Tx) error {
				for _, k := range kinds {
					tx.InsertEvents(s4t.Event{At: at, Kind: k, Project: "p"})
				}
				return nil
			})
			view(t, db, func(tx *Tx) (err error) { last, err = tx.LastEvent(); return err })
		}
		tell("board.created")
		known := last
		for _, step := range []struct {
			kinds []string
			want  bool
		}{{[]string{"operation.started", "pin.claimed"}, false}, {[]string{"pins.changed"}, true}} {
			tell(step.kinds...)
			view(t, db, func(tx *Tx) error {
				for _, project := range []s4t.ProjectID{"p", ""} {
					changed, err := tx.PinsChangedSince(project, known)
					same(t, fmt.Sprint("after ", step.kinds), changed, err, step.want)
				}
				changed, err := tx.PinsChangedSince("another", known)
				same(t, "of another project", changed, err, false)
				return nil
			})
		}
		write(t, db, func(tx *Tx) error {
			if err := tx.TrimEvents("p", 1); err != nil {
				return err
			}
			changed, err := tx.PinsChangedSince("p", 1)
			same(t, "where the events are not kept", changed, err, true)
			return nil
		})
	})
}
