package store

import (
	"testing"

	"github.com/stack4things/s4t"
)

func TestPinsAreKeptAsTheyWere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		b := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: "lamp", Project: w.project.ID, CreatedAt: fromMicros(1)}}
		l := s4t.Lease{ID: s4t.LeaseID(s4t.NewID()), Name: "night", Project: w.project.ID, Status: s4t.LeaseActive, From: fromMicros(1), Until: fromMicros(9), Allow: []string{"pins"}, CreatedAt: fromMicros(1)}
		value := 0.25
		was := LeasedPin{Lease: l.ID, Board: b.ID, Pin: "gpio/c/1", Settings: map[string]string{"label": "door"}, Value: &value, Holder: "user:1"}
		bare := LeasedPin{Lease: l.ID, Board: b.ID, Pin: "gpio/c/2", Settings: map[string]string{}, Holder: "user:1"}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertBoard(b); err != nil {
				return err
			}
			if err := tx.InsertBoardLease(l, []LeaseMember{{Board: b.ID}}); err != nil {
				return err
			}
			return tx.KeepPins([]LeasedPin{was, bare})
		})
		write(t, db, func(tx *Tx) error { // the first word counts
			later := was
			later.Value = nil
			return tx.KeepPins([]LeasedPin{later})
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.LeasedPins(l.ID, b.ID)
			same(t, "kept", got, err, []LeasedPin{was, bare})
			due, err := tx.PinsToGiveBack(9)
			same(t, "due while it lasts", len(due), err, 0)
			lent, err := tx.LentNamed(w.project.ID, "lamp")
			same(t, "lent by name", lent, err, []s4t.BoardID{b.ID})
			until, err := tx.LeasesOf(b.ID)
			same(t, "leases", until, err, []Lent{{l.ID, w.project.ID, fromMicros(9)}})
			boards, err := tx.BoardsLentTo(w.project.ID)
			same(t, "boards lent to it", boards, err, []s4t.BoardID{b.ID})
			return nil
		})
		write(t, db, func(tx *Tx) error {
			l.Status = s4t.LeaseEnded
			if err := tx.SetBoardLease(l); err != nil {
				return err
			}
			if err := tx.PinsDue(l.ID); err != nil {
				return err
			}
			return tx.ForgetPin(bare)
		})
		view(t, db, func(tx *Tx) error {
			due, err := tx.PinsToGiveBack(9)
			same(t, "due of a board that is not there", len(due), err, 0)
			got, err := tx.LeasedPins(l.ID, b.ID)
			same(t, "left", got, err, []LeasedPin{was})
			return nil
		})
		share := l
		share.ID, share.Parent, share.Name, share.Until = s4t.LeaseID(s4t.NewID()), l.ID, "part", fromMicros(20)
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertBoardLease(share, nil); err != nil {
				return err
			}
			return tx.ForgetLeases(fromMicros(15), 9)
		})
		view(t, db, func(tx *Tx) error {
			if _, err := tx.LeaseByID(l.ID); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("an old lease is still there: %v", err)
			}
			got, err := tx.LeaseByID(share.ID)
			same(t, "its share, which is newer", got.Parent, err, s4t.LeaseID(""))
			left, err := tx.LeasedPins(l.ID, b.ID)
			same(t, "its pins", len(left), err, 0)
			return nil
		})
	})
}
