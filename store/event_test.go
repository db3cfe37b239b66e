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
					last := int64(0)
					err := dbs[w%2].Tx(t.Context(), func(tx *Tx) (err error) {
						if _, err := tx.Project("lab"); err != nil {
							return err
						}
						events := make([]s4t.Event, 1+i%3)
						for k := range events {
							events[k] = s4t.Event{Kind: fmt.Sprintf("%d/%d/%d", w, i, k)}
						}
						if last, err = tx.InsertEvents(events); err == nil && i%5 == 4 {
							return errDropped // ids were drawn for nothing
						}
						return err
					})
					if err != nil && err != errDropped {
						t.Error(err)
					}
					if err == nil && last == 0 {
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
				events, err = tx.Events("", after, 7)
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
				if i%5 == 4 {
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

func TestNothingIsWrittenAfterEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		err := db.Tx(t.Context(), func(tx *Tx) error {
			if _, err := tx.InsertEvents([]s4t.Event{{Kind: "a"}}); err != nil {
				return err
			}
			return tx.InsertProject(newProject("lab"))
		})
		if s4t.KindOf(err) != s4t.Internal {
			t.Errorf("%v (%s)", err, s4t.KindOf(err))
		}
		write(t, db, func(tx *Tx) error {
			if last, err := tx.InsertEvents(nil); last != 0 || err != nil {
				t.Errorf("no events: %d, %v", last, err)
			}
			return tx.InsertProject(newProject("lab"))
		})
	})
}

func TestManyEventsOfOneTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		const n = 2*maxInsertEvents + 1
		events := make([]s4t.Event, n)
		for i := range events {
			events[i].Kind = fmt.Sprint(i)
		}
		write(t, db, func(tx *Tx) error {
			last, err := tx.InsertEvents(events)
			same(t, "last", last, err, int64(n))
			return err
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.Events("", 0, n+1)
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
				var events []s4t.Event
				for _, kind := range kinds {
					events = append(events, s4t.Event{Kind: kind})
				}
				_, err := tx.InsertEvents(events)
				return err
			})
		}
		trim := func(keep int) { write(t, db, func(tx *Tx) error { return tx.TrimEvents(keep) }) }
		check := func(what string, left int, trimmed int64) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				events, err := tx.Events("", 0, 10)
				same(t, what+": events", len(events), err, left)
				id, err := tx.TrimmedEvents()
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
		db.Tx(t.Context(), func(tx *Tx) error {
			_, err := tx.InsertEvents([]s4t.Event{{Kind: "x"}, {Kind: "y"}})
			return fmt.Errorf("dropped: %w", err)
		})
		add("c")
		trim(2)
		check("one is trimmed", 2, 1)
		trim(2)
		check("again", 2, 1)
		trim(0)
		view(t, db, func(tx *Tx) error {
			last, err := tx.LastEvent()
			events, err2 := tx.Events("", 0, 10)
			if err != nil || err2 != nil || len(events) != 1 || events[0].Kind != "c" || events[0].ID != last {
				t.Errorf("left of one: %+v, last %d, %v, %v", events, last, err, err2)
			}
			return nil
		})
	})
}
