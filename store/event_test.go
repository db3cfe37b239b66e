package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
)

// TestEventsAreReadInTheOrderOfCommits: many writers, and a reader that asks
// again and again for what comes after the last it has seen, as every API
// process does. It must see every event, once.
func TestEventsAreReadInTheOrderOfCommits(t *testing.T) {
	onBothURLs(t, func(t *testing.T, url string) {
		const writers, each = 16, 20
		dbs := []*DB{openTest(t, url), openTest(t, url)} // two processes
		reader := openTest(t, url)
		write(t, reader, func(tx *Tx) error { return tx.InsertProject(newProject("lab")) })

		var wg sync.WaitGroup
		ctx, done := context.WithCancel(t.Context())
		defer done()
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					var told *Tx
					err := dbs[w%2].Tx(t.Context(), func(tx *Tx) error {
						told = tx
						if _, err := tx.Project("lab"); err != nil {
							return err
						}
						events := make([]s4t.Event, 1+i%3)
						for k := range events {
							events[k] = s4t.Event{Kind: fmt.Sprintf("%d/%d/%d", w, i, k)}
						}
						tx.InsertEvents(events...)
						if i%5 == 4 {
							return errDropped
						}
						if i%5 == 3 { // ids are drawn for nothing: the commit fails
							tx.InsertEvents(s4t.Event{Kind: "\x00"})
						}
						return nil
					})
					if i%5 == 3 && s4t.KindOf(err) == s4t.Invalid {
						continue
					}
					if err != nil && err != errDropped {
						t.Error(err)
					}
					if err == nil && told.LastInserted() == 0 {
						t.Error("the last of some events has no id")
					}
				}
			})
		}
		go func() { wg.Wait(); done() }()

		var kinds []string
		seen := map[string]bool{}
		after := int64(0)
		for finished := false; ; {
			var events []s4t.Event
			view(t, reader, func(tx *Tx) (err error) {
				events, err = tx.Events("", "", after, 7)
				return err
			})
			for _, e := range events {
				if e.ID <= after || seen[e.Kind] {
					t.Fatalf("event %d %s after %d", e.ID, e.Kind, after)
				}
				after, seen[e.Kind] = e.ID, true
				kinds = append(kinds, e.Kind)
			}
			if len(events) == 0 {
				if finished {
					break
				}
				finished = ctx.Err() != nil // and look once more
			}
		}
		wg.Wait()
		next := 0
		for w := range writers {
			for i := range each {
				if i%5 >= 3 {
					continue
				}
				for k := range 1 + i%3 {
					if !seen[fmt.Sprintf("%d/%d/%d", w, i, k)] {
						t.Errorf("event %d/%d/%d was missed", w, i, k)
					}
					next++
				}
			}
		}
		if next != len(kinds) {
			t.Errorf("%d events were read, want %d", len(kinds), next)
		}
		// Those of one transaction follow each other, in its order.
		for n, kind := range kinds {
			var w, i, k int
			fmt.Sscanf(kind, "%d/%d/%d", &w, &i, &k)
			if k > 0 && kinds[n-1] != fmt.Sprintf("%d/%d/%d", w, i, k-1) {
				t.Errorf("%s follows %s", kind, kinds[n-1])
			}
		}
	})
}

var errDropped = errors.New("dropped")

func TestEventsAreTheLastThatIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var told *Tx
		write(t, db, func(tx *Tx) error {
			told = tx
			tx.InsertEvents(s4t.Event{Kind: "a"}, s4t.Event{Kind: "b"})
			if err := tx.InsertProject(newProject("lab")); err != nil {
				return err
			}
			last, err := tx.LastEvent()
			same(t, "last before the commit", last, err, int64(0))
			tx.InsertEvents(s4t.Event{Kind: "c"})
			return nil
		})
		same(t, "last", told.LastInserted(), nil, int64(3))
		view(t, db, func(tx *Tx) error {
			events, err := tx.Events("", "", 0, 10)
			same(t, "events", len(events), err, 3)
			for i, kind := range []string{"a", "b", "c"} {
				same(t, "event", events[i].Kind, nil, kind)
			}
			told = tx
			return nil
		})
		same(t, "last of none", told.LastInserted(), nil, int64(0))
	})
}

func TestManyEventsOfOneTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		const n = 2*maxInsertEvents + 1
		events := make([]s4t.Event, n)
		for i := range events {
			events[i].Kind = fmt.Sprint(i)
		}
		write(t, db, func(tx *Tx) error { tx.InsertEvents(events...); return nil })
		view(t, db, func(tx *Tx) error {
			got, err := tx.Events("", "", 0, n+1)
			same(t, "events", len(got), err, n)
			for i, e := range got {
				if e.Kind != fmt.Sprint(i) {
					t.Fatalf("event %d is %s", i, e.Kind)
				}
			}
			return nil
		})
	})
}

func TestTrimmedEventsAreKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		add := func(kinds ...string) {
			write(t, db, func(tx *Tx) error {
				for _, kind := range kinds {
					tx.InsertEvents(s4t.Event{Kind: kind})
				}
				return nil
			})
		}
		trim := func(keep int) { write(t, db, func(tx *Tx) error { return tx.TrimEvents("", keep) }) }
		check := func(what string, left int, trimmed int64) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				events, err := tx.Events("", "", 0, 10)
				same(t, what+": events", len(events), err, left)
				id, err := tx.TrimmedEvents("")
				same(t, what+": trimmed", id, err, trimmed)
				return nil
			})
		}
		trim(2)
		check("none", 0, 0)
		add("a", "b")
		trim(2)
		check("all are kept", 2, 0)
		// A hole: what was drawn for nothing is not counted as an event.
		if db.engine == postgres {
			if _, err := db.write.ExecContext(t.Context(), `SELECT nextval(pg_get_serial_sequence('events', 'id'))`); err != nil {
				t.Fatal(err)
			}
		}
		add("c")
		trim(2)
		check("one is trimmed", 2, 1)
		trim(2)
		check("again", 2, 1)
		trim(0)
		view(t, db, func(tx *Tx) error {
			last, err := tx.LastEvent()
			events, err2 := tx.Events("", "", 0, 10)
			if err != nil || err2 != nil || len(events) != 1 || events[0].Kind != "c" || events[0].ID != last {
				t.Errorf("left of one: %+v, last %d, %v, %v", events, last, err, err2)
			}
			return nil
		})
	})
}

// TestTheNoiseOfOneProjectLeavesOthersTheirHistory does row 8 again: what one
// writes shortens its own history, and who reads that of all learns of it.
func TestTheNoiseOfOneProjectLeavesOthersTheirHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		add := func(project s4t.ProjectID, n int) {
			write(t, db, func(tx *Tx) error {
				for range n {
					tx.InsertEvents(s4t.Event{Kind: "a", Project: project})
				}
				return nil
			})
		}
		add("quiet", 2) // 1, 2
		add("noisy", 9) // 3 to 11
		add("quiet", 1) // 12
		for range 2 {   // the second finds nothing to do
			write(t, db, func(tx *Tx) error { return tx.TrimEvents("noisy", 3) })
		}
		view(t, db, func(tx *Tx) error {
			counts, err := tx.CountEvents()
			same(t, "counts", counts, err, map[s4t.ProjectID]int{"quiet": 3, "noisy": 3})
			for project, want := range map[s4t.ProjectID]int64{"quiet": 0, "noisy": 8, "": 8} {
				id, err := tx.TrimmedEvents(project)
				same(t, "trimmed of "+string(project), id, err, want)
			}
			return nil
		})
	})
}
