package store

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/wire"
)

// fleet is what is wanted of an agent: more than one statement takes, of
// several kinds, changed in several generations.
func fleet() []Realization {
	var all []Realization
	for _, kind := range []wire.Kind{wire.KindNetwork, wire.KindPort, wire.KindService} {
		for i := range 2*chunk + 30 {
			r := held("t1", kind, fmt.Sprintf("%s-%04d", kind, i), i%3 == 0, "")
			r.Generation = int64(1 + (i+i/10)%5)
			if i%10 == 1 {
				r.ProblemID, r.Problem = "no-route", "no route to it"
			}
			if i%10 == 2 {
				r.Gone, r.Spec, r.Up, r.WasUp = true, "", false, false
			}
			all = append(all, r)
		}
	}
	return all
}

func compareRealizations(a, b Realization) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Holder, b.Holder))
}

// only returns those of all that ok is true for.
func only(all []Realization, ok func(Realization) bool) []Realization {
	return slices.DeleteFunc(slices.Clone(all), func(r Realization) bool { return !ok(r) })
}

func keysOf(all []Realization) []wire.ResourceKey {
	var keys []wire.ResourceKey
	for _, r := range all {
		keys = append(keys, r.Key())
	}
	return keys
}

func TestWhatIsWantedOfAHolder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		all := fleet()
		wanted := only(all, func(r Realization) bool { return !r.Gone })
		view(t, db, func(tx *Tx) error {
			filled, err := tx.RealizationsFilled()
			same(t, "a new database is filled", filled, err, false)
			return nil
		})
		write(t, db, func(tx *Tx) error {
			for _, rows := range [][]Realization{nil, all, {held("t2", wire.KindPort, "port-0000", true, "slow")}} {
				if err := tx.PutRealizations(rows); err != nil {
					return err
				}
			}
			return nil
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.SetRealizationsFilled(); err != nil {
				return err
			}
			filled, err := tx.RealizationsFilled()
			same(t, "it is filled", filled, err, true)
			got, err := tx.RealizationsOfHolder("t1")
			same(t, "what is wanted", got, err, wanted)
			got, err = tx.Held("t1", keysOf(all))
			same(t, "what is held by keys", got, err, all)
			got, err = tx.Held("t1", []wire.ResourceKey{{Kind: wire.KindGRE, ID: "port-0000"}, {Kind: wire.KindPort, ID: "none"}})
			same(t, "what is not held", got, err, nil)
			got, err = tx.Held("t1", nil)
			same(t, "none of what is held", got, err, nil)

			both := append(slices.Clone(wanted), held("t2", wire.KindPort, "port-0000", true, "slow"))
			slices.SortFunc(both, compareRealizations)
			got, err = tx.LockObjects(keysOf(all))
			same(t, "what all say of objects", got, err, both)

			said := only(wanted, func(r Realization) bool { return r.Up || r.Problem != "" })
			got, err = tx.SaidByHolder("t1", len(all))
			same(t, "what is said", got, err, said)
			got, err = tx.SaidByHolder("t1", 5)
			same(t, "the first of what is said", got, err, said[:5])
			want := wire.Sum(0)
			for _, r := range wanted {
				want = want.Add(r.State().Sum())
			}
			sum, err := tx.SumSaid("t1")
			same(t, "the sum of what is said", sum, err, want)
			sum, err = tx.SumSaid("nobody")
			same(t, "the sum of what nobody said", sum, err, 0)

			// Ranges of keys that follow each other have everything once.
			got = nil
			var after wire.ResourceKey
			for _, upTo := range []wire.ResourceKey{wanted[0].Key(), wanted[250].Key(), {Kind: wire.KindPort, ID: "port"}, {Kind: wire.KindPort, ID: "port-z"}, {}} {
				part, err := tx.HeldInRange("t1", wire.KeyRange{After: after, UpTo: upTo})
				if err != nil {
					return err
				}
				got, after = append(got, part...), upTo
			}
			same(t, "what is held in ranges", got, nil, wanted)
			return nil
		})
	})
}

// TestChangesOfAHolderArePages: from any generation on, pages show every change
// once and in order, though a page ends in the midst of a generation, and what
// changes again meanwhile comes again.
func TestChangesOfAHolderArePages(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		all := fleet()
		write(t, db, func(tx *Tx) error {
			return tx.PutRealizations(append(slices.Clone(all), held("t2", wire.KindPort, "port-0000", true, "slow")))
		})
		changed := func(since int64, limit int, meanwhile func(page int)) []Realization {
			got := []Realization{}
			generation, key := since, wire.ResourceKey{Kind: "~"} // after all of that generation
			for page := 0; ; page++ {
				var rows []Realization
				view(t, db, func(tx *Tx) (err error) {
					rows, err = tx.ChangedAfter("t1", generation, key, limit)
					return err
				})
				got = append(got, rows...)
				if len(rows) < limit {
					return got
				}
				last := rows[len(rows)-1]
				generation, key = last.Generation, last.Key()
				meanwhile(page)
			}
		}
		byChange := func(a, b Realization) int {
			return cmp.Or(cmp.Compare(a.Generation, b.Generation), compareRealizations(a, b))
		}
		for _, since := range []int64{0, 3, 5} {
			want := only(all, func(r Realization) bool { return r.Generation > since })
			slices.SortFunc(want, byChange)
			for _, limit := range []int{7, 100, 2000} {
				same(t, fmt.Sprintf("what changed since %d, by %d", since, limit), changed(since, limit, func(int) {}), nil, want)
			}
		}

		want := slices.Clone(all)
		slices.SortFunc(want, byChange)
		again := []Realization{want[0], want[len(want)-1]} // shown already, and not yet
		for i := range again {
			again[i].Generation, again[i].Gone, again[i].Spec = 6, false, `{"again":true}`
		}
		slices.SortFunc(again, byChange)
		want = append(want[:len(want)-1], again...)
		same(t, "with changes meanwhile", changed(0, 100, func(page int) {
			if page == 2 {
				write(t, db, func(tx *Tx) error { return tx.PutRealizations(again) })
			}
		}), nil, want)
	})
}

func TestWhatIsGoneIsForgottenOnceItWasTold(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		all := fleet()
		write(t, db, func(tx *Tx) error {
			if err := tx.PutRealizations(append(slices.Clone(all), held("t2", wire.KindPort, "port-0000", true, "slow"))); err != nil {
				return err
			}
			return tx.ForgetGone("t1", 3)
		})
		left := only(all, func(r Realization) bool { return !r.Gone || r.Generation > 3 })
		if len(left) == len(all) || !slices.ContainsFunc(left, func(r Realization) bool { return r.Gone }) {
			t.Fatal("the test has nothing to tell")
		}
		write(t, db, func(tx *Tx) error {
			got, err := tx.Held("t1", keysOf(all))
			same(t, "what is left", got, err, left)
			if err := tx.DeleteRealization("t1", wire.ResourceKey{Kind: wire.KindPort, ID: "port-0000"}); err != nil {
				return err
			}
			got, err = tx.LockObjects([]wire.ResourceKey{{Kind: wire.KindPort, ID: "port-0000"}})
			same(t, "the other half", got, err, []Realization{held("t2", wire.KindPort, "port-0000", true, "slow")})
			if err := tx.ForgetHolder("t1"); err != nil {
				return err
			}
			got, err = tx.Held("t1", keysOf(all))
			same(t, "what is left of a holder that is gone", got, err, nil)
			got, err = tx.RealizationsOfHolder("t2")
			same(t, "what is left of another", len(got), err, 1)
			return nil
		})
	})
}

func TestWhatARealizationIsOutside(t *testing.T) {
	r := Realization{Holder: "t1", Kind: wire.KindPort, Object: "p", Spec: `{"x":1}`, Up: true, ProblemID: "id", Problem: "slow"}
	same(t, "resource", r.Resource(), nil, wire.Resource{Kind: wire.KindPort, ID: "p", Spec: []byte(`{"x":1}`)})
	same(t, "state", r.State(), nil, wire.ResourceState{Kind: wire.KindPort, ID: "p", Up: true, ProblemID: "id", Problem: "slow"})
	r.Gone = true
	same(t, "resource that is gone", r.Resource(), nil, wire.Resource{Kind: wire.KindPort, ID: "p", Gone: true})

	for _, tt := range []struct {
		halves []Realization
		want   s4t.PortStatus
	}{
		{nil, s4t.PortPending},
		{[]Realization{{}}, s4t.PortPending},
		{[]Realization{{Up: true, OnBoard: true}, {}}, s4t.PortPending},
		{[]Realization{{Up: true, OnBoard: true}, {Up: true}}, s4t.PortUp},
		{[]Realization{{Up: true, OnBoard: true, WasUp: true}, {WasUp: true}}, s4t.PortDown},
		{[]Realization{{OnBoard: true, WasUp: true}, {Up: true, WasUp: true}}, s4t.PortDown},
		{[]Realization{{Up: true, OnBoard: true, WasUp: true}, {}}, s4t.PortDown},                        // a half that was made anew
		{[]Realization{{Up: true, OnBoard: true, WasUp: true}, {Up: true, WasUp: true}, {}}, s4t.PortUp}, // it moves to another agent
		{[]Realization{{OnBoard: true}, {Up: true}, {Up: true}}, s4t.PortPending},
		{[]Realization{{Up: true}}, s4t.PortUp}, // only one has to hold it
	} {
		if got := StatusOf(tt.halves); got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.halves, got, tt.want)
		}
	}
}

// waits returns once a transaction of db waits for a lock, or ended is closed.
func waits(t *testing.T, db *DB, ended <-chan struct{}) {
	t.Helper()
	for {
		var n int
		if err := db.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return
		default:
		}
		if n > 0 {
			return
		}
	}
}

// TestTheSecondHalfSeesTheFirst: both holders of an object say at the same
// time that they have it, on PostgreSQL really so: the second one waits for the
// first. One of them, not both and not none, finds that the object is up.
func TestTheSecondHalfSeesTheFirst(t *testing.T) {
	key := wire.ResourceKey{Kind: wire.KindPort, ID: "p"}
	comesUp := func(tx *Tx, holder string, locked func()) (s4t.PortStatus, error) {
		halves, err := tx.LockObjects([]wire.ResourceKey{key})
		if err != nil {
			return "", err
		}
		locked()
		i := slices.IndexFunc(halves, func(r Realization) bool { return r.Holder == holder })
		halves[i].Up = true
		return StatusOf(halves), tx.PutRealizations(halves[i : i+1])
	}
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			return tx.PutRealizations([]Realization{held("b1", key.Kind, key.ID, false, ""), held("t1", key.Kind, key.ID, false, "")})
		})
		var first, second s4t.PortStatus
		var wg sync.WaitGroup
		ended := make(chan struct{})
		once := sync.OnceFunc(func() {
			wg.Go(func() {
				defer close(ended)
				if err := db.Tx(t.Context(), func(tx *Tx) (err error) {
					second, err = comesUp(tx, "t1", func() {})
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		})
		write(t, db, func(tx *Tx) (err error) {
			first, err = comesUp(tx, "b1", func() {
				once()
				if db.engine == postgres {
					waits(t, db, ended)
				}
			})
			return err
		})
		wg.Wait()
		same(t, "what the first one saw", first, nil, s4t.PortPending)
		same(t, "what the second one saw", second, nil, s4t.PortUp)
	})
}

// TestAReportDoesNotUndoARename: who writes the presence of a board and who
// describes it have both read it before the other wrote.
func TestAReportDoesNotUndoARename(t *testing.T) {
	report := func(tx *Tx, b Board) error {
		b.AppliedGeneration, b.ReportSeq, b.Status, b.WAMPAgent = 4, 9, s4t.BoardOffline, ""
		b.Name, b.Info = "as it was", s4t.BoardInfo{OS: "plan 9"}
		return tx.SetPresence(b)
	}
	rename := func(tx *Tx, b Board) error {
		b.Name, b.Labels = "uno", nil
		b.AppliedGeneration, b.Status, b.WAMPAgent, b.PublicKey = 0, s4t.BoardRegistered, "none", nil
		return tx.DescribeBoard(b)
	}
	for name, both := range map[string][2]func(*Tx, Board) error{"the rename is first": {rename, report}, "the report is first": {report, rename}} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *DB) {
				w := newWorld(t, db)
				first := func(b Board) {
					write(t, db, func(tx *Tx) error {
						if _, err := tx.GrowBoard(b.ID); err != nil {
							return err
						}
						return both[0](tx, b)
					})
				}
				write(t, db, func(tx *Tx) error {
					b, err := tx.Board(w.one.ID)
					if err != nil {
						return err
					}
					if db.engine == postgres { // while this one runs
						first(b)
					}
					return both[1](tx, b)
				})
				if db.engine == sqlite { // has one writer at a time: the second only read before
					first(w.one)
					write(t, db, func(tx *Tx) error { return both[1](tx, w.one) })
					w.one.Generation = 2
				}
				w.one.Name, w.one.Labels, w.one.Generation = "uno", nil, 2
				w.one.AppliedGeneration, w.one.ReportSeq, w.one.Status, w.one.WAMPAgent = 4, 9, s4t.BoardOffline, ""
				view(t, db, func(tx *Tx) error {
					b, err := tx.Board(w.one.ID)
					same(t, "board", b, err, w.one)
					return nil
				})
			})
		})
	}
}

// TestABoardThatIsLockedStaysAsItIs: the row that people change, and the
// presence.
func TestABoardThatIsLockedStaysAsItIs(t *testing.T) {
	for name, change := range map[string]func(tx *Tx, b Board) error{
		"described": func(tx *Tx, b Board) error { b.Name = "uno"; return tx.DescribeBoard(b) },
		"presence":  func(tx *Tx, b Board) error { b.Epoch = 9; return tx.SetPresence(b) },
		"grown":     func(tx *Tx, b Board) error { _, err := tx.GrowBoard(b.ID); return err },
	} {
		t.Run(name, func(t *testing.T) {
			db := openTest(t, pgtest.Copy(t, withSchema)) // SQLite has one writer at a time
			w := newWorld(t, db)
			ended := make(chan struct{})
			once := sync.OnceFunc(func() {
				go func() {
					defer close(ended)
					if err := db.Tx(t.Context(), func(tx *Tx) error { return change(tx, w.one) }); err != nil {
						t.Error(err)
					}
				}()
			})
			write(t, db, func(tx *Tx) error {
				if _, err := tx.LockBoard(w.one.ID); err != nil {
					return err
				}
				once()
				waits(t, db, ended)
				b, err := tx.Board(w.one.ID)
				same(t, "board", b, err, w.one)
				return nil
			})
			<-ended
			view(t, db, func(tx *Tx) error {
				b, err := tx.Board(w.one.ID)
				if err != nil || b.Name != "uno" && b.Epoch != 9 && b.Generation != 2 {
					t.Errorf("the change that waited is lost: %+v, %v", b, err)
				}
				return nil
			})
		})
	}
}
