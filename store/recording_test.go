package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestRecordings(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		write(t, db, func(tx *Tx) error { return tx.SetRecordTerminals(w.project.ID, true) })
		view(t, db, func(tx *Tx) error {
			p, err := tx.Project(string(w.project.ID))
			same(t, "records", p.RecordTerminals, err, true)
			return nil
		})
		begin := func(n int) s4t.Recording {
			r := s4t.Recording{ID: s4t.RecordingID(s4t.NewID()), Project: w.project.ID, BoardID: w.one.ID, Board: "one", ShellOf: "pi", User: "maria", Origin: "https://cloud.test", StartedAt: at.Add(time.Duration(n) * time.Second)}
			write(t, db, func(tx *Tx) error { return tx.InsertRecording(r) })
			return r
		}
		first, second := begin(1), begin(2)
		add := func(r *s4t.Recording, data string, ended *time.Time) {
			t.Helper()
			write(t, db, func(tx *Tx) error {
				held, err := tx.LockRecording(r.ID)
				same(t, "held", held, err, *r)
				return tx.AddToRecording(held, data, ended)
			})
			r.Bytes, r.EndedAt = r.Bytes+int64(len(data)), ended
		}
		add(&first, "[0,\"o\",\"\\u0000ü\"]\n", nil)
		add(&first, "two\n", nil)
		end := at.Add(time.Minute)
		add(&first, "", &end)
		view(t, db, func(tx *Tx) error {
			got, err := tx.Recording(first.ID)
			same(t, "first", got, err, first)
			parts, err := tx.RecordingParts(first.ID, 0, 8)
			same(t, "all of it", strings.Join(parts, ""), err, "[0,\"o\",\"\\u0000ü\"]\ntwo\n")
			parts, err = tx.RecordingParts(first.ID, first.Bytes-4, 8)
			same(t, "the rest", parts, err, []string{"two\n"})
			for _, project := range []s4t.ProjectID{"", w.project.ID} {
				one, err := tx.Recordings(project, wire.Page{Limit: 1})
				same(t, "a page", one.Items, err, []s4t.Recording{first})
				two, err := tx.Recordings(project, wire.Page{Limit: 1, After: one.Next})
				same(t, "the next page", two.Items, err, []s4t.Recording{second})
			}
			n, err := tx.RecordingBytes(w.project.ID)
			same(t, "bytes", n, err, first.Bytes+2*s4t.RecordingOverhead)
			n, err = tx.RecordingBytes("other")
			same(t, "bytes of others", n, err, 0)
			oldest, err := tx.OldestRecordings(w.project.ID, 8)
			same(t, "those that ended", oldest, err, []s4t.Recording{first})
			return nil
		})
		left := func(life, idle time.Duration, want ...s4t.RecordingID) {
			t.Helper()
			var ids []s4t.RecordingID
			write(t, db, func(tx *Tx) error {
				if err := tx.ForgetRecordings(life, idle, 8); err != nil {
					return err
				}
				l, err := tx.Recordings(w.project.ID, wire.Page{})
				ids = nil
				for _, r := range l.Items {
					ids = append(ids, r.ID)
					if idle < 0 && r.EndedAt == nil {
						t.Errorf("an idle one goes on: %+v", r)
					}
				}
				return err
			})
			if !slices.Equal(ids, want) {
				t.Errorf("left are %v, not %v", ids, want)
			}
		}
		ages := 1000000 * time.Hour // at is long ago
		left(ages, ages, first.ID, second.ID)
		left(ages, -time.Hour, first.ID, second.ID)
		write(t, db, func(tx *Tx) error { return tx.DeleteRecording(first.ID) })
		left(ages, ages, second.ID)
		left(time.Hour, ages)
	})
}
