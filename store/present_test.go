package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t/wire"
)

// TestABeatOfAnAgentIsRarelyWritten where one process has the database; what the next one finds in
// the row is never a lease that ends before the agent's.
func TestABeatOfAnAgentIsRarelyWritten(t *testing.T) {
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	now := at
	open := func() *DB {
		db, err := Open(t.Context(), Config{URL: path, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	const lease = 30 * time.Second
	db := open()
	one := Agent{ID: "w1", Kind: wire.AgentWAMP, Incarnation: "i", Online: true}
	two := one
	two.ID = "t1"
	beat := func(put bool) {
		t.Helper()
		for _, a := range []Agent{one, two} {
			a.SeenAt, a.LeaseUntil = now, now.Add(lease)
			write(t, db, func(tx *Tx) error {
				if put {
					return tx.PutAgent(a)
				}
				return tx.Beat(a)
			})
		}
	}
	agent := func(db *DB) (a Agent) {
		t.Helper()
		view(t, db, func(tx *Tx) (err error) { a, err = tx.Agent(one.ID); return err })
		return a
	}
	beat(true)
	before, _ := db.Written()
	const tries, minutes = 120, 10
	for i := range tries {
		now = now.Add(5 * time.Second)
		beat(false)
		a := agent(db)
		same(t, "heard", a.SeenAt, nil, now)
		same(t, "lease", a.LeaseUntil, nil, now.Add(lease))
		if i%50 == 45 {
			a = agent(open())
			if late := now.Sub(a.SeenAt); late < 0 || late > beatWritten || a.LeaseUntil.Before(now.Add(lease)) {
				t.Errorf("after a kill it was heard %v ago, and its lease lasts %v", late, a.LeaseUntil.Sub(now))
			}
		}
	}
	// Both agents' are one transaction each half minute.
	if n, _ := db.Written(); n-before > 2*minutes+1 {
		t.Errorf("%d transactions wrote in %d minutes", n-before, minutes)
	}
	now = now.Add(5 * time.Second)
	beat(false)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, "heard, after an end in order", agent(open()).SeenAt, nil, now)
}

// TestWhatWasWrittenIsCounted: rows, and transactions that wrote some.
func TestWhatWasWrittenIsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		commits, rows := db.Written()
		write(t, db, func(tx *Tx) error { return nil })
		write(t, db, func(tx *Tx) error { return tx.SetAgentLost(Agent{ID: "none"}, LostNew) })
		view(t, db, func(tx *Tx) error { _, err := tx.Agents(); return err })
		c, r := db.Written()
		same(t, "transactions that wrote nothing", [2]int64{c - commits, r - rows}, nil, [2]int64{})
		write(t, db, func(tx *Tx) error {
			if err := tx.PutAgent(Agent{ID: "a", Kind: wire.AgentWAMP, SeenAt: at}); err != nil {
				return err
			}
			_, err := tx.GrowAgent("a", 0, 0)
			return err
		})
		c, r = db.Written()
		same(t, "one that wrote two rows", [2]int64{c - commits, r - rows}, nil, [2]int64{1, 2})
	})
}
