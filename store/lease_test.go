package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOneHoldsALease(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		if db.engine == postgres {
			db.now = func() time.Time { t.Error("the clock of the process was asked"); return time.Time{} }
		}
		take := func(holder string, d time.Duration, want bool) {
			t.Helper()
			write(t, db, func(tx *Tx) error {
				got, err := tx.TakeLease("upkeep", holder, d)
				same(t, "taken by "+holder, got, err, want)
				return nil
			})
		}
		holds := func(want string) (until time.Time) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				holder, u, err := tx.LeaseHolder("upkeep")
				same(t, "holder", holder, err, want)
				until = u
				return nil
			})
			return until
		}
		give := func(holder string) {
			t.Helper()
			write(t, db, func(tx *Tx) error { return tx.GiveLease("upkeep", holder) })
		}
		same(t, "until when nobody has it", holds(""), nil, time.Time{})
		take("a", time.Hour, true)
		take("b", time.Hour, false)
		until := holds("a")
		view(t, db, func(tx *Tx) error {
			if left := until.Sub(tx.Now()); left > time.Hour || left < 50*time.Minute {
				t.Errorf("it is held for another %v by the database's clock, want an hour", left)
			}
			return nil
		})
		take("a", 2*time.Hour, true)
		if again := holds("a"); again.Sub(until) < time.Hour {
			t.Errorf("taken again it is held until %s, before until %s", again, until)
		}
		give("b")
		take("b", time.Hour, false)
		take("a", -time.Second, true) // it has run out
		take("b", time.Hour, true)
		take("a", time.Hour, false)
		give("a")
		holds("b")
		give("b")
		holds("")
		take("a", time.Hour, true)
		write(t, db, func(tx *Tx) error {
			got, err := tx.TakeLease("another", "b", time.Hour)
			same(t, "another lease", got, err, true)
			return nil
		})
	})
}

func TestOfManyWhoTakeALeaseOneHasIt(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		var had atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := db.Tx(t.Context(), func(tx *Tx) error {
					got, err := tx.TakeLease("upkeep", fmt.Sprint(i), time.Hour)
					if got && err == nil {
						had.Add(1)
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		same(t, "holders", had.Load(), nil, int64(1))
	})
}
