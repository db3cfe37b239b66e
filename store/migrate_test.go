package store

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/wire"
)

// TestIdsGoOnAfterTheirMigration: rows that were there keep their ids, and the
// next one continues.
func TestIdsGoOnAfterTheirMigration(t *testing.T) {
	test := func(t *testing.T, url string) {
		db := &DB{}
		if err := db.open(url); err != nil {
			t.Fatal(err)
		}
		p, err := db.migrations()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.UpTo(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{
			`INSERT INTO events VALUES (8, 1, 'a', '', '', '', '', '', ''), (9, 2, 'b', '', '', '', '', '', '')`,
			`INSERT INTO audit VALUES (5, 1, '', '', 'x', '', '', '', '', '')`,
		} {
			if _, err := db.write.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		db.Close()

		db = openTest(t, url)
		write(t, db, func(tx *Tx) error {
			trimmed, err := tx.TrimmedEvents()
			same(t, "trimmed before", trimmed, err, int64(7))
			if err := tx.InsertAudit(s4t.AuditRecord{At: at, Action: "y"}); err != nil {
				return err
			}
			tx.InsertEvents(s4t.Event{Kind: "c"})
			return nil
		})
		view(t, db, func(tx *Tx) error {
			events, err := tx.Events("", 8, 10)
			same(t, "events", len(events), err, 2)
			same(t, "next event", events[1].ID, err, 10)
			records, err := tx.AuditRecords(AuditFilter{}, wire.Page{})
			same(t, "audit records", len(records.Items), err, 2)
			same(t, "next audit record", records.Items[1].ID, err, 6)
			return err
		})
	}
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+t.TempDir()+"/s4t.db") })
	t.Run("postgres", func(t *testing.T) { test(t, pgtest.URL(t)) })
}
