package store

import (
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
)

// weight reads a project's weight with the lock.
func weight(tx *Tx, id s4t.ProjectID) (int, error) {
	return one(tx, "read a weight", value[int], `SELECT weight FROM projects WHERE id = ?`+tx.forUpdate(), id)
}

func setWeight(tx *Tx, id s4t.ProjectID, w int) error {
	_, err := tx.exec("set a weight", `UPDATE projects SET weight = ? WHERE id = ?`, w, id)
	return err
}

func TestWhatIsReadWithTheLockStaysUntilTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		p := newProject("lab")
		write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
		const writers, each = 8, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if err := db.Tx(t.Context(), func(tx *Tx) error {
						w, err := weight(tx, p.ID)
						if err != nil {
							return err
						}
						return setWeight(tx, p.ID, w+1)
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		view(t, db, func(tx *Tx) error { // a view takes no lock, and may use the same text
			w, err := weight(tx, p.ID)
			same(t, "weight", w, err, p.Weight+writers*each)
			return nil
		})
	})
}

// TestADeadlockIsRunAgain: two transactions lock two rows in the wrong order,
// as often as it takes until both had the first.
func TestADeadlockIsRunAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		a, b := newProject("a"), newProject("b")
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertProject(a); err != nil {
				return err
			}
			return tx.InsertProject(b)
		})
		haveFirst := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
		done := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
		attempts := [2]int{}
		var wg sync.WaitGroup
		for i, order := range [2][2]s4t.ProjectID{{a.ID, b.ID}, {b.ID, a.ID}} {
			wg.Go(func() {
				defer close(done[i])
				err := db.Tx(t.Context(), func(tx *Tx) error {
					if attempts[i]++; attempts[i] > 1 {
						<-done[1-i] // who was let through is not met again
					}
					for k, id := range order {
						w, err := weight(tx, id)
						if err != nil {
							return s4t.Errorf(s4t.Internal, "hide it", "", "an fn that makes another error of it") // still run again
						}
						if err := setWeight(tx, id, w+1); err != nil {
							return err
						}
						if k == 0 && attempts[i] == 1 && db.engine == postgres {
							close(haveFirst[i])
							<-haveFirst[1-i]
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		view(t, db, func(tx *Tx) error {
			for _, p := range []s4t.Project{a, b} {
				w, err := weight(tx, p.ID)
				same(t, p.Name, w, err, p.Weight+2)
			}
			return nil
		})
		if db.engine == postgres && attempts[0]+attempts[1] != 3 {
			t.Errorf("%v attempts; one of two is run again", attempts)
		}
	})
}

func TestAStatementThatFailedEndsTheTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error { return tx.InsertProject(newProject("lab")) })
		err := db.Tx(t.Context(), func(tx *Tx) error {
			if _, err := tx.Project("none"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a project that is not there: %v", err)
			}
			if err := tx.InsertProject(newProject("other")); err != nil { // NotFound is no failure
				return err
			}
			if err := tx.InsertProject(newProject("lab")); !IsUnique(err, "projects.name") {
				t.Errorf("a name that is taken: %v", err)
			}
			if _, err := tx.Project("lab"); !IsUnique(err, "projects.name") {
				t.Errorf("a statement after one that failed: %v", err)
			}
			return nil
		})
		if !IsUnique(err, "projects.name") {
			t.Errorf("Tx returned %v", err)
		}
		view(t, db, func(tx *Tx) error {
			if _, err := tx.Project("other"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("half of a transaction was committed: %v", err)
			}
			return nil
		})
	})
}

func TestTextThatOneEngineRefusesIsInvalidOnBoth(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		for _, text := range []string{"a\x00b", "caf\xc3"} {
			for name, fn := range map[string]func(tx *Tx) error{
				"a text":       func(tx *Tx) error { return tx.InsertAudit(s4t.AuditRecord{At: at, Detail: text}) },
				"a named type": func(tx *Tx) error { return tx.DeleteProject(s4t.ProjectID(text)) },
				"a reference":  func(tx *Tx) error { _, err := tx.Project(text); return err },
				"an event":     func(tx *Tx) error { tx.InsertEvents(s4t.Event{Name: text}); return nil },
				"a text or nil": func(tx *Tx) error {
					_, err := tx.exec("test", `UPDATE boards SET code_hash = ? WHERE id = ?`, textOrNull(text), "x")
					return err
				},
			} {
				err := db.Tx(t.Context(), fn)
				if s4t.KindOf(err) != s4t.Invalid {
					t.Errorf("%s of %q: %v (%s)", name, text, err, s4t.KindOf(err))
				}
			}
		}
		write(t, db, func(tx *Tx) error { return tx.InsertAudit(s4t.AuditRecord{At: at, Detail: "café ☕ \u202e"}) })
	})
}

func TestTheClockIsTheDatabases(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		fixed := time.Date(2030, 1, 2, 3, 4, 5, 6789, time.FixedZone("", 3600))
		db, err := Open(t.Context(), Config{URL: "sqlite:" + t.TempDir() + "/s4t.db", Now: func() time.Time { return fixed }})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		view(t, db, func(tx *Tx) error {
			if now := tx.Now(); !now.Equal(fixed.Truncate(time.Microsecond)) || now.Location() != time.UTC {
				t.Errorf("it is %s, want %s", now, fixed)
			}
			return nil
		})
	})
	t.Run("postgres", func(t *testing.T) {
		db := openTest(t, pgtest.Copy(t, withSchema))
		db.now = func() time.Time { t.Error("the clock of the process was asked"); return time.Time{} }
		write(t, db, func(tx *Tx) error {
			one, two := tx.Now(), tx.Now()
			if !two.After(one) || time.Since(one).Abs() > time.Minute { // the server of a test is near
				t.Errorf("it was %s, then %s; here it is %s", one, two, time.Now())
			}
			return nil
		})
		if err := db.Tx(t.Context(), func(tx *Tx) error {
			tx.on.ExecContext(t.Context(), "SELECT 1/0") // nothing works after it
			if now := tx.Now(); !now.IsZero() {
				t.Errorf("it is %s", now)
			}
			return nil
		}); err == nil {
			t.Error("a transaction without a clock was committed")
		}
	})
}

// TestATransactionThatStandsStillIsEndedAndRunAgain: what PostgreSQL ends, with its
// locks, because its process did not go on.
func TestATransactionThatStandsStillIsEndedAndRunAgain(t *testing.T) {
	db := openUnwatched(t, pgtest.Copy(t, withSchema))
	view(t, db, func(tx *Tx) error {
		limit, err := one(tx, "", value[string], `SELECT current_setting('idle_in_transaction_session_timeout')`)
		same(t, "limit", limit, err, idleTransaction)
		return nil
	})
	p := newProject("lab")
	write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
	attempts := 0
	write(t, db, func(tx *Tx) error {
		attempts++
		if _, err := weight(tx, p.ID); err != nil {
			return err
		}
		if attempts == 1 {
			if _, err := tx.exec("", `SET LOCAL idle_in_transaction_session_timeout = '10ms'`); err != nil {
				return err
			}
			// Another gets the lock that this one holds, once it is ended.
			if err := db.Tx(t.Context(), func(other *Tx) error { return setWeight(other, p.ID, 7) }); err != nil {
				return err
			}
		}
		return setWeight(tx, p.ID, 8)
	})
	if attempts != 2 {
		t.Errorf("it ran %d times", attempts)
	}
	view(t, db, func(tx *Tx) error {
		w, err := weight(tx, p.ID)
		same(t, "weight", w, err, 8)
		return nil
	})
}

// TestALostConnectionIsNoInternalError: who asked is told to try again, also where the
// database ended in the midst of a statement.
func TestALostConnectionIsNoInternalError(t *testing.T) {
	for _, cause := range []error{
		io.ErrUnexpectedEOF, io.EOF, net.ErrClosed,
		&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET},
	} {
		err := mapError("write the audit", fmt.Errorf("receive: %w", cause))
		if s4t.KindOf(err) != s4t.Unavailable || retryable(err) {
			t.Errorf("%v is %v (%s), retryable %v", cause, err, s4t.KindOf(err), retryable(err))
		}
	}
}
