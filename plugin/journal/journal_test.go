package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noSync is for tests that are not about the disk.
func noSync(*os.File) error { return nil }

func open(t testing.TB, path string) *Journal {
	t.Helper()
	j := Open(Config{Path: path, Sync: noSync})
	t.Cleanup(func() { j.Close() })
	return j
}

func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "runs.journal") }

func run(n int) wire.Run {
	return wire.Run{ID: s4t.OperationID(fmt.Sprint("run-", n)), Key: fmt.Sprint("p:", n)}
}

func begin(t testing.TB, j *Journal, n int, start bool) {
	t.Helper()
	if _, fresh, err := j.Begin(run(n), start); err != nil || !fresh {
		t.Fatalf("begin %d: fresh %v, %v", n, fresh, err)
	}
}

func succeed(j *Journal, n int, result string) {
	j.End(run(n).ID, wire.RunState{Status: s4t.OperationSucceeded, Result: json.RawMessage(result)})
}

func stateOf(t testing.TB, j *Journal, n int) wire.RunState {
	t.Helper()
	known, unknown := j.States([]s4t.OperationID{run(n).ID})
	if len(known) != 1 {
		t.Fatalf("run %d is not known: %v", n, unknown)
	}
	return known[0]
}

func TestARunBeginsOnce(t *testing.T) {
	j := open(t, newFile(t))
	var fresh atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			st, is, err := j.Begin(run(1), true)
			if err != nil || st.ID != run(1).ID || st.Status != s4t.OperationStarted {
				t.Errorf("%+v, %v", st, err)
			}
			if is {
				fresh.Add(1)
			}
		})
	}
	all.Wait()
	if fresh.Load() != 1 {
		t.Fatalf("it began %d times", fresh.Load())
	}
	again := run(2)
	again.Key = run(1).Key
	if st, fresh, err := j.Begin(again, true); err != nil || fresh || st.ID != run(1).ID {
		t.Fatalf("the same key under another ID: %+v, fresh %v, %v", st, fresh, err)
	}
	succeed(j, 1, `{"ok":true}`)
	if st, fresh, err := j.Begin(run(1), true); err != nil || fresh || string(st.Result) != `{"ok":true}` {
		t.Fatalf("after its end: %+v, fresh %v, %v", st, fresh, err)
	}
}

func TestWhatWasKilledIsTold(t *testing.T) {
	path := newFile(t)
	j := open(t, path)
	begin(t, j, 1, true)
	begin(t, j, 2, false)
	begin(t, j, 3, false)
	begin(t, j, 4, true)
	if err := j.Start(run(3).ID); err != nil {
		t.Fatal(err)
	}
	succeed(j, 4, `"done"`)
	// Nothing closes it: that is what kill -9 does.
	again := open(t, path)
	for n, want := range map[int]struct {
		status s4t.OperationStatus
		error  string
	}{1: {s4t.OperationFailed, brokenOff}, 2: {s4t.OperationExpired, ""}, 3: {s4t.OperationFailed, brokenOff}, 4: {s4t.OperationSucceeded, ""}} {
		if st := stateOf(t, again, n); st.Status != want.status || st.Error != want.error || st.EndedAt.IsZero() {
			t.Errorf("run %d: %+v", n, st)
		}
		if _, fresh, err := again.Begin(run(n), true); err != nil || fresh {
			t.Errorf("run %d begins again: %v", n, err)
		}
	}
	if open, unheard := again.Count(); open != 0 || unheard != 4 {
		t.Errorf("%d open, %d unheard", open, unheard)
	}
	if st := stateOf(t, again, 4); string(st.Result) != `"done"` {
		t.Errorf("the result is lost: %+v", st)
	}
}

func TestResultsAreKeptUntilHeard(t *testing.T) {
	path := newFile(t)
	j := open(t, path)
	for n := range 5 {
		begin(t, j, n, true)
		succeed(j, n, fmt.Sprint(n))
	}
	j.Heard(run(1).ID, run(3).ID, run(77).ID)
	for life := range 2 {
		var ids []string
		for _, st := range j.Unheard(2) {
			if st.Result != nil {
				t.Error("a list of IDs has a result")
			}
			ids = append(ids, string(st.ID))
		}
		if want := "run-0 run-2"; strings.Join(ids, " ") != want {
			t.Fatalf("life %d: unheard %v, want %s", life, ids, want)
		}
		if st := stateOf(t, j, 4); string(st.Result) != "4" {
			t.Fatalf("life %d: %+v", life, st)
		}
		if st := stateOf(t, j, 3); st.Status != s4t.OperationSucceeded || st.Result != nil {
			t.Fatalf("life %d: one that is heard: %+v", life, st)
		}
		j = open(t, path)
	}
}

func TestWhatIsToldAsNeverBegunNeverBegins(t *testing.T) {
	j := open(t, newFile(t))
	known, unknown := j.States([]s4t.OperationID{run(1).ID})
	if len(known) != 0 || len(unknown) != 1 {
		t.Fatal(known, unknown)
	}
	st, fresh, err := j.Begin(run(1), true) // it was on its way
	if err != nil || fresh || st.Status != s4t.OperationExpired {
		t.Fatalf("%+v, fresh %v, %v", st, fresh, err)
	}
	for n := 2; n < maxForgone+10; n++ {
		j.States([]s4t.OperationID{run(n).ID})
	}
	if len(j.forgone) != maxForgone || len(j.order) != maxForgone {
		t.Errorf("%d and %d are remembered", len(j.forgone), len(j.order))
	}
}

// TestEveryCut cuts the file at each length, as kill -9 and a torn write do: what
// the lines before the cut say is known, nothing else is, and it can be gone on.
func TestEveryCut(t *testing.T) {
	path := newFile(t)
	j := open(t, path)
	begin(t, j, 1, true)
	begin(t, j, 2, false)
	succeed(j, 1, `{"a":1}`)
	j.Heard(run(1).ID)
	if err := j.Start(run(2).ID); err != nil {
		t.Fatal(err)
	}
	j.End(run(2).ID, wire.RunState{Status: s4t.OperationFailed, Error: "no"})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := newFile(t)
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(part, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(whole[:cut], []byte("\n"))
		j := open(t, part)
		if j.lost {
			t.Fatalf("cut at %d: taken for damage", cut)
		}
		want := [][2]s4t.OperationStatus{
			{"", ""}, {s4t.OperationFailed, ""}, {s4t.OperationFailed, s4t.OperationExpired}, {s4t.OperationSucceeded, s4t.OperationExpired},
			{s4t.OperationSucceeded, s4t.OperationExpired}, {s4t.OperationSucceeded, s4t.OperationFailed}, {s4t.OperationSucceeded, s4t.OperationFailed},
		}[lines]
		for i, status := range want {
			known, _ := j.States([]s4t.OperationID{run(i + 1).ID})
			if status == "" && len(known) != 0 || status != "" && (len(known) != 1 || known[0].Status != status) {
				t.Fatalf("cut at %d (%d lines): run %d is %+v, want %q", cut, lines, i+1, known, status)
			}
		}
		begin(t, j, 3, true)
		succeed(j, 3, "3")
		j.Close()
		if again := open(t, part); stateOf(t, again, 3).Status != s4t.OperationSucceeded {
			t.Fatalf("cut at %d: what came after is lost", cut)
		} else {
			again.Close()
		}
	}
}

// TestFlippedBytes damages bytes, one at a time: one line is lost, never another, and what is
// not known is told as that.
func TestFlippedBytes(t *testing.T) {
	path := newFile(t)
	j := open(t, path)
	for n := range 3 {
		begin(t, j, n, true)
		succeed(j, n, fmt.Sprint(n))
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := newFile(t)
	for at := 0; at < len(whole); at += 3 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x10
		if err := os.WriteFile(part, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j := Open(Config{Path: part, Sync: noSync})
		good := 0
		for n := range 3 {
			if st := stateOf(t, j, n); st.Status == s4t.OperationSucceeded {
				good++
			} else if st.Status != s4t.OperationFailed || st.Error == "" {
				t.Fatalf("byte %d: %+v", at, st)
			}
		}
		if good < 1 { // a line's end that is damaged takes the next with it
			t.Fatalf("byte %d: only %d of 3 are known", at, good)
		}
		j.Close()
	}
}

// TestRandomLives drives a journal against a model, with kills at any moment.
func TestRandomLives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	path := newFile(t)
	type model struct {
		status s4t.OperationStatus
		heard  bool
	}
	want := map[int]*model{}
	j := open(t, path)
	for step := range 1500 {
		n := rnd.IntN(60)
		m := want[n]
		switch rnd.IntN(7) {
		case 0, 1:
			start := rnd.IntN(2) == 0
			_, fresh, err := j.Begin(run(n), start)
			if err != nil || fresh != (m == nil) {
				t.Fatalf("step %d: begin %d: fresh %v, %v", step, n, fresh, err)
			}
			if m == nil {
				want[n] = &model{status: s4t.OperationAccepted}
				if start {
					want[n].status = s4t.OperationStarted
				}
			}
		case 2:
			if m != nil && m.status == s4t.OperationAccepted {
				if err := j.Start(run(n).ID); err != nil {
					t.Fatal(err)
				}
				m.status = s4t.OperationStarted
			}
		case 3, 4:
			if m != nil && !m.status.Ended() {
				succeed(j, n, `"`+strings.Repeat("x", rnd.IntN(9000))+`"`)
				m.status = s4t.OperationSucceeded
			}
		case 5:
			j.Heard(run(n).ID)
			if m != nil && m.status.Ended() {
				m.heard = true
			}
		case 6:
			if rnd.IntN(5) > 0 {
				continue
			}
			j = open(t, path)
			for _, m := range want {
				switch m.status {
				case s4t.OperationAccepted:
					m.status = s4t.OperationExpired
				case s4t.OperationStarted:
					m.status = s4t.OperationFailed
				}
			}
		}
		unheard := 0
		for n, m := range want {
			st := stateOf(t, j, n)
			if st.Status != m.status || (st.Status == s4t.OperationSucceeded && !m.heard) != (st.Result != nil) {
				t.Fatalf("step %d: run %d is %s with a result of %d bytes, want %+v", step, n, st.Status, len(st.Result), *m)
			}
			if m.status.Ended() && !m.heard {
				unheard++
			}
		}
		if _, got := j.Count(); got != unheard {
			t.Fatalf("step %d: %d unheard, want %d", step, got, unheard)
		}
	}
}

func TestTheFileIsBounded(t *testing.T) {
	path := newFile(t)
	now := time.Unix(1_800_000_000, 0)
	j := Open(Config{Path: path, Sync: noSync, Now: func() time.Time { return now }})
	defer j.Close()
	result := `"` + strings.Repeat("x", 2000) + `"`
	for n := range 5000 {
		begin(t, j, n, true)
		succeed(j, n, result)
		j.Heard(run(n).ID)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 8<<20 {
		t.Errorf("5,000 runs that were heard of take %d bytes", info.Size())
	}
	if _, fresh, _ := j.Begin(run(0), true); fresh {
		t.Error("a run that is heard of begins again")
	}
	for n := range MaxKept + 100 {
		begin(t, j, 10_000+n, true)
		succeed(j, 10_000+n, "1")
		j.Heard(run(10_000 + n).ID)
	}
	if len(j.runs) != MaxKept || len(j.keys) != MaxKept {
		t.Errorf("%d runs and %d keys are kept", len(j.runs), len(j.keys))
	}
	begin(t, j, 50_000, true)
	succeed(j, 50_000, "1")
	now = now.Add(s4t.KeyLifetime + time.Second)
	begin(t, j, 50_001, true)
	if len(j.runs) != 2 {
		t.Errorf("after their time %d runs are kept", len(j.runs))
	}
}

func TestWhatIsNotHeardIsNeverDropped(t *testing.T) {
	j := open(t, newFile(t))
	result := `"` + strings.Repeat("x", s4t.MaxCommandResult-2) + `"`
	n := 0
	for ; ; n++ {
		_, _, err := j.Begin(run(n), true)
		if s4t.KindOf(err) == s4t.TooMany {
			break
		}
		if err != nil || n > MaxUnheard/s4t.MaxCommandResult+1 {
			t.Fatal(n, err)
		}
		succeed(j, n, result)
	}
	for k := range n {
		if st := stateOf(t, j, k); len(st.Result) != len(result) {
			t.Fatalf("the result of %d is lost", k)
		}
	}
	j.Heard(run(0).ID)
	begin(t, j, n, true)
}

func TestADiskThatFails(t *testing.T) {
	bad := errors.New("input/output error")
	var fails atomic.Bool
	j := Open(Config{Path: newFile(t), Sync: func(*os.File) error {
		if fails.Load() {
			return bad
		}
		return nil
	}})
	defer j.Close()
	begin(t, j, 1, true)
	fails.Store(true)
	if _, _, err := j.Begin(run(2), true); s4t.KindOf(err) != s4t.Unavailable {
		t.Fatal(err)
	}
	if j.Problem() == "" {
		t.Error("it is not told")
	}
	succeed(j, 1, `"kept"`) // where it can be, until the disk is well
	if st := stateOf(t, j, 1); string(st.Result) != `"kept"` {
		t.Errorf("%+v", st)
	}
	fails.Store(false)
	begin(t, j, 2, true)
	if p := j.Problem(); p != "" {
		t.Error(p)
	}
	again := open(t, j.cfg.Path)
	if st := stateOf(t, again, 1); string(st.Result) != `"kept"` {
		t.Errorf("%+v", st)
	}
	if st := stateOf(t, again, 2); st.Status != s4t.OperationFailed {
		t.Errorf("%+v", st)
	}
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "no", "such", "folder", "runs.journal"))
	if _, _, err := j.Begin(run(1), true); s4t.KindOf(err) != s4t.Unavailable {
		t.Fatal(err)
	}
	if j.Problem() == "" {
		t.Error("it is not told")
	}
	if known, unknown := j.States([]s4t.OperationID{run(1).ID}); len(known) != 0 || len(unknown) != 1 {
		t.Error(known, unknown)
	}
}

// TestThoseWhoWaitForTheDiskWaitTogether counts the syncs, since time is the machine's.
func TestThoseWhoWaitForTheDiskWaitTogether(t *testing.T) {
	var syncs atomic.Int64
	var opened atomic.Bool
	turn := make(chan struct{})
	j := Open(Config{Path: newFile(t), Sync: func(*os.File) error {
		if opened.Load() {
			syncs.Add(1)
			<-turn
		}
		return nil
	}})
	opened.Store(true)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if _, fresh, err := j.Begin(run(n), true); err != nil || !fresh {
				t.Error(n, fresh, err)
			}
		})
	}
	for { // all have written, one is at the disk
		j.mu.Lock()
		n := len(j.runs)
		j.mu.Unlock()
		if n == 50 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(turn)
	all.Wait()
	if n := syncs.Load(); n > 2 { // of the first, of all others
		t.Errorf("%d syncs for 50 runs", n)
	}
	j.Close()
}

func FuzzJournal(f *testing.F) {
	path := newFile(f)
	j := open(f, path)
	begin(f, j, 1, true)
	begin(f, j, 2, false)
	succeed(j, 1, `{"a":1}`)
	j.Heard(run(1).ID)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-7])
	f.Add([]byte("00000000 {}\n"))
	f.Add(record{Do: doHeard, IDs: []s4t.OperationID{"run-1"}}.encode(nil))
	f.Add(record{Do: doEnd, State: &wire.RunState{ID: "x", Status: s4t.OperationCancelled}, Heard: true}.encode(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := newFile(t)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		first := Open(Config{Path: path, Sync: noSync, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
		ids := []s4t.OperationID{}
		for id, e := range first.runs {
			if !e.state.Status.Ended() {
				t.Fatalf("%s is %s", id, e.state.Status)
			}
			ids = append(ids, id)
		}
		slices.Sort(ids)
		before, _ := first.States(ids)
		_, unheard := first.Count()
		first.Close()
		again := Open(Config{Path: path, Sync: noSync})
		defer again.Close()
		after, gone := again.States(ids)
		if _, n := again.Count(); len(gone) > 0 || n != unheard || again.lost {
			t.Fatalf("%d are gone, %d unheard of %d, damaged %v", len(gone), n, unheard, again.lost)
		}
		if !bytes.Equal(wire.Encode(before), wire.Encode(after)) {
			t.Fatalf("%s\n%s", wire.Encode(before), wire.Encode(after))
		}
	})
}
