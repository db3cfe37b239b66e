package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestWhenThereIsNothingToWaitForAnyMore(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    Await
		done bool
	}{
		{"an object that is up", Await{There: true, Kind: wire.KindPort, Wanted: true, Up: true, Generation: 2, Applied: 2}, true},
		{"and the holder is further", Await{There: true, Kind: wire.KindPort, Wanted: true, Up: true, Generation: 2, Applied: 3}, true},
		{"one that is not up", Await{There: true, Kind: wire.KindPort, Wanted: true, Generation: 2, Applied: 2}, false},
		{"one that was up before", Await{There: true, Kind: wire.KindPort, Wanted: true, Up: true, Generation: 2, Applied: 1}, false},
		{"one that is not wanted any more", Await{There: true, Kind: wire.KindPort, Generation: 2, Applied: 1}, true},
		{"a holder that is away", Await{Kind: wire.KindPort, Wanted: true, Generation: 2}, true},
		{"a generation that is applied", Await{There: true, Generation: 2, Applied: 2}, true},
		{"one that is not", Await{There: true, Generation: 2, Applied: 1}, false},
		{"one of a holder that is away", Await{Generation: 2}, true},
	} {
		if got := tt.a.Done(); got != tt.done {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.done)
		}
	}
}

// newOperation adds an operation that runs.
func newOperation(t *testing.T, db *DB, p s4t.ProjectID) Operation {
	t.Helper()
	o := Operation{Operation: s4t.Operation{ID: s4t.NewOperationID(), Kind: "bridge.add", Project: p, Object: "o", Status: s4t.OperationRunning, Steps: []s4t.Step{}, CreatedAt: at}, Name: "lab"}
	write(t, db, func(tx *Tx) error { return tx.InsertOperation(o, time.Hour) })
	return o
}

func TestWhatAnOperationWaitsFor(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		op, other := newOperation(t, db, w.project.ID), newOperation(t, db, w.project.ID)
		one, two, port := string(w.one.ID), string(w.two.ID), string(w.ports[0].ID)
		awaits := []Await{
			{Operation: op.ID, Holder: one, OnBoard: true, Kind: wire.KindPort, Object: port, Board: w.one.ID, Generation: 3},
			{Operation: op.ID, Holder: two, OnBoard: true, Generation: 1},
			{Operation: op.ID, Holder: "t1", Kind: wire.KindPort, Object: port, Board: w.two.ID, Generation: 2},
		}
		var many []Await // more than one statement takes
		for i := range chunk + 1 {
			many = append(many, Await{Operation: other.ID, Holder: two, OnBoard: true, Kind: wire.KindPort, Object: fmt.Sprint(i), Generation: 5})
		}
		r := held("t1", wire.KindPort, port, true, "slow")
		r.ProblemID = "slow-link"
		write(t, db, func(tx *Tx) error {
			w.two.Status = s4t.BoardOffline
			return errors.Join(tx.InsertAwaits(awaits), tx.InsertAwaits(many), tx.PutRealizations([]Realization{r}), tx.SetPresence(w.two))
		})
		want := slices.Clone(awaits)
		want[0].HolderName, want[0].BoardName, want[0].Online, want[0].There, want[0].Applied = "one", "one", true, true, 1
		want[1].HolderName, want[1].Applied = "two", 1
		want[2].HolderName, want[2].BoardName, want[2].Online, want[2].Applied, want[2].Wanted = "t1", "two", true, 1, true
		want[2].Spec, want[2].Up, want[2].ProblemID, want[2].Problem = `{}`, true, "slow-link", "slow"
		read := func(what string) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				got, err := tx.Awaits(op.ID)
				same(t, what, got, err, want)
				return nil
			})
		}
		read("at first")

		awaiting := func(holder string, want ...s4t.OperationID) {
			t.Helper()
			slices.Sort(want)
			view(t, db, func(tx *Tx) error {
				got, err := tx.OperationsAwaiting(holder)
				same(t, "operations that wait for "+holder, got, err, append([]s4t.OperationID{}, want...))
				return nil
			})
		}
		awaiting(one, op.ID)
		awaiting(two, op.ID, other.ID) // as a holder, and as the board that one of the others' is for
		awaiting("t1", op.ID)
		awaiting("t2")
		view(t, db, func(tx *Tx) error {
			got, err := tx.AwaitedBoards([]s4t.BoardID{w.one.ID, "none", w.two.ID})
			same(t, "boards that are waited for", got, err, map[s4t.BoardID]bool{w.one.ID: true, w.two.ID: true})
			return nil
		})

		// The steps of Fig. 3, as they come to be known, each once.
		note := func(board s4t.BoardID, generation int64, told, received time.Time, want ...s4t.OperationID) {
			t.Helper()
			write(t, db, func(tx *Tx) error {
				got, err := tx.NoteAwaits(board, generation, told, received)
				slices.Sort(got)
				slices.Sort(want)
				same(t, "operations concerned", slices.Compact(got), err, append([]s4t.OperationID{}, want...))
				return nil
			})
		}
		told, received := at.Add(time.Second), at.Add(2*time.Second)
		note(w.one.ID, 2, told, time.Time{}) // not of the generation that is waited for
		read("as it was")
		note(w.one.ID, 3, told, time.Time{}, op.ID)
		want[0].ToldAt = told
		read("once the board was told")
		note(w.one.ID, 4, at.Add(time.Hour), received, op.ID)
		want[0].ReceivedAt = received
		read("once the board received it")
		note(w.one.ID, 4, at.Add(time.Hour), at.Add(time.Hour))
		read("told again")
		note(w.two.ID, 5, told, received, op.ID, other.ID)
		want[1].ToldAt, want[1].ReceivedAt = told, received
		read("of the other board")

		write(t, db, func(tx *Tx) error { return tx.RaiseAwaits(op.ID, "t1", 7) })
		want[2].Generation = 7
		read("of a newer generation")
		write(t, db, func(tx *Tx) error {
			r.Gone, r.Spec, r.Up, r.ProblemID, r.Problem = true, "", false, "", ""
			w.two.Status = s4t.BoardOnline
			return errors.Join(tx.PutRealizations([]Realization{r}), tx.SetPresence(w.two))
		})
		want[1].Online, want[1].There = true, true
		want[2].There, want[2].Wanted, want[2].Spec, want[2].Up, want[2].ProblemID, want[2].Problem = true, false, "", false, "", ""
		read("of what is gone, and with the other board online")

		write(t, db, func(tx *Tx) error {
			ended := at.Add(time.Minute)
			op.Status, op.EndedAt = s4t.OperationSucceeded, &ended
			done, err := tx.EndOperation(op)
			same(t, "ended", done, err, true)
			return nil
		})
		want = []Await{}
		read("once it ended")
		awaiting(one)
		awaiting(two, other.ID)
	})
}

// TestOneEndsAnOperation: two find at the same time that it is done, and read
// it before either wrote.
func TestOneEndsAnOperation(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		p := newProject("lab")
		write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
		o := newOperation(t, db, p.ID)
		end := func(tx *Tx, msg string, after time.Duration) (bool, error) {
			mine, ended := o, at.Add(after)
			mine.Status, mine.Error, mine.ErrorKind, mine.EndedAt = s4t.OperationFailed, msg, s4t.Timeout, &ended
			return tx.EndOperation(mine)
		}
		var first, second bool
		done := make(chan struct{})
		started := false
		write(t, db, func(tx *Tx) (err error) {
			if first, err = end(tx, "first", time.Second); err != nil || started {
				return err
			}
			started = true
			go func() {
				defer close(done)
				if err := db.Tx(t.Context(), func(tx *Tx) (err error) {
					second, err = end(tx, "second", time.Minute)
					return err
				}); err != nil {
					t.Error(err)
				}
			}()
			if db.engine == postgres {
				waits(t, db, done)
			}
			return nil
		})
		<-done
		if !first || second {
			t.Errorf("the first ended it: %t, the second: %t", first, second)
		}
		view(t, db, func(tx *Tx) error {
			ended := at.Add(time.Second)
			o.Status, o.Error, o.ErrorKind, o.EndedAt = s4t.OperationFailed, "first", s4t.Timeout, &ended
			got, err := tx.Operation(o.ID)
			same(t, "operation", got, err, o)
			return nil
		})
	})
}

// TestTheTimeOfAnOperationIsTheDatabases: deadlines are counted by it.
func TestTheTimeOfAnOperationIsTheDatabases(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		p := newProject("lab")
		write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
		var ids []s4t.OperationID
		for _, timeout := range []time.Duration{-time.Minute, -time.Hour, time.Hour} {
			o := Operation{Operation: s4t.Operation{ID: s4t.NewOperationID(), Project: p.ID, Status: s4t.OperationRunning, CreatedAt: at}}
			write(t, db, func(tx *Tx) error { return tx.InsertOperation(o, timeout) })
			ids = append(ids, o.ID)
		}
		write(t, db, func(tx *Tx) error {
			got, err := tx.OverdueOperations(false)
			same(t, "overdue", got, err, []s4t.OperationID{ids[1], ids[0]})
			got, err = tx.OverdueOperations(true)
			same(t, "running", got, err, []s4t.OperationID{ids[1], ids[0], ids[2]})
			if err := tx.ExtendOperations(time.Hour); err != nil {
				return err
			}
			got, err = tx.OverdueOperations(false)
			same(t, "overdue with more time", got, err, []s4t.OperationID{})
			return tx.ExtendOperations(-time.Hour)
		})
		write(t, db, func(tx *Tx) error {
			ended := at
			done, err := tx.EndOperation(Operation{Operation: s4t.Operation{ID: ids[0], Status: s4t.OperationSucceeded, EndedAt: &ended}})
			same(t, "ended", done, err, true)
			got, err := tx.OverdueOperations(false)
			same(t, "overdue without one that ended", len(got), err, 2)
			return nil
		})
	})
}
