package store

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
)

// TestACopyHasEverything: from SQLite to PostgreSQL and back, what is read is the
// same, and ids go on.
func TestACopyHasEverything(t *testing.T) {
	first := openUnwatched(t, "sqlite:"+filepath.Join(t.TempDir(), "a.db"))
	w := newWorld(t, first)
	write(t, first, func(tx *Tx) error {
		tx.InsertEvents(s4t.Event{Kind: "a"}, s4t.Event{Kind: "b"}, s4t.Event{Kind: "c"})
		return tx.InsertAudit(s4t.AuditRecord{Action: "x"})
	})
	// Ids that were given and forgotten.
	write(t, first, func(tx *Tx) error { _, err := tx.exec("", `DELETE FROM events WHERE id = 3`); return err })
	second := openUnwatched(t, pgtest.Copy(t, withSchema))
	third := openUnwatched(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	var before []Copied
	for _, step := range []struct{ from, to *DB }{{first, second}, {second, third}} {
		var told []Copied
		if err := Copy(t.Context(), step.from, step.to, func(c Copied) { told = append(told, c) }); err != nil {
			t.Fatal(err)
		}
		if before != nil && !cmp.Equal(before, told) {
			t.Error(cmp.Diff(before, told))
		}
		before = told
		if err := Copy(t.Context(), step.from, step.to, func(Copied) {}); s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("again, to one that is not empty: %v", err)
		}
		var board, want Board
		view(t, step.from, func(tx *Tx) (err error) { want, err = tx.Board(w.one.ID); return err })
		view(t, step.to, func(tx *Tx) (err error) { board, err = tx.Board(w.one.ID); return err })
		if d := cmp.Diff(want, board); d != "" {
			t.Error(d)
		}
	}
	if len(before) < 30 {
		t.Errorf("copied %v", before)
	}
	for _, db := range []*DB{second, third} {
		var told *Tx
		write(t, db, func(tx *Tx) error { told = tx; tx.InsertEvents(s4t.Event{Kind: "d"}); return nil })
		same(t, "id of the next event", told.LastInserted(), nil, int64(4))
	}
}

// TestARestoredDatabaseIsAheadOfAllThatWasGiven: epochs, generations and events, and
// who reads on is told to read anew.
func TestARestoredDatabaseIsAheadOfAllThatWasGiven(t *testing.T) {
	onBothURLs(t, func(t *testing.T, url string) {
		db := openUnwatched(t, url)
		w := newWorld(t, db)
		write(t, db, func(tx *Tx) error {
			tx.InsertEvents(s4t.Event{Kind: "a"})
			_, err := tx.TakeLease("x", "me", 1<<40)
			return err
		})
		snapshot := filepath.Join(t.TempDir(), "b.db")
		if err := db.Snapshot(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		restored := openUnwatched(t, "sqlite:"+snapshot)
		if err := restored.Restored(t.Context()); err != nil {
			t.Fatal(err)
		}
		view(t, restored, func(tx *Tx) error {
			b, err := tx.Board(w.one.ID)
			same(t, "epoch", b.Epoch, err, w.one.Epoch+restoredJump)
			same(t, "generation", b.Generation, err, w.one.Generation+restoredJump)
			same(t, "status", b.Status, err, s4t.BoardOffline)
			a, err := tx.Agent(w.agent.ID)
			same(t, "incarnation", a.Incarnation, err, "")
			holder, _, err := tx.LeaseHolder("x")
			same(t, "holder", holder, err, "")
			trimmed, err := tx.TrimmedEvents("")
			same(t, "trimmed", trimmed, err, int64(1+restoredJump))
			last, err := tx.LastEvent()
			same(t, "last", last, err, int64(2+restoredJump))
			return nil
		})
	})
}
