package conductor

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestProcessesBeatAndSayGoodbye(t *testing.T) {
	l := newLab(t)
	known := func(want ...string) {
		t.Helper()
		var got []string
		err := l.db.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.Processes()
			for _, p := range all {
				got = append(got, p.Role+" "+p.Name)
			}
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("known are %q, %v; want %q", got, err, want)
		}
	}
	beat := wire.ProcessBeat{Name: "a", Roles: []string{wire.ProcessConductor, wire.ProcessAPI}, Incarnation: "1", Host: "h", URL: "https://h:1", Version: "1", Load: 7}
	for range 2 {
		call[wire.Empty](l, wire.MethodProcessBeat, beat)
		known("api a", "conductor a")
	}
	for _, bad := range []wire.ProcessBeat{{}, {Name: "b", Incarnation: "1"}, {Name: "b", Roles: beat.Roles}, {Name: "b", Incarnation: "1", Roles: []string{"operator"}}} {
		if _, err := try[wire.Empty](l, wire.MethodProcessBeat, bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := l.c.forgetProcesses(t.Context()); err != nil {
		t.Error(err)
	}
	known("api a", "conductor a")
	last := beat
	last.Ends, last.Incarnation = true, "0"
	call[wire.Empty](l, wire.MethodProcessBeat, last)
	known("api a", "conductor a")
	last.Incarnation = "1"
	call[wire.Empty](l, wire.MethodProcessBeat, last)
	known()
}

func TestTheLeaderIsTheConductorThatDoesTheUpkeep(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "s4t.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	leads := func(want string) {
		t.Helper()
		var got string
		if err := db.View(t.Context(), func(tx *store.Tx) (err error) { got, err = Leader(tx); return err }); err != nil || got != want {
			t.Errorf("%q leads, %v; want %q", got, err, want)
		}
	}
	take := func(holder string, d time.Duration) {
		t.Helper()
		if err := db.Tx(t.Context(), func(tx *store.Tx) error { _, err := tx.TakeLease(upkeepLease, holder, d); return err }); err != nil {
			t.Fatal(err)
		}
	}
	leads("")
	named := newHolder("c1")
	take(named, time.Hour)
	leads("c1")
	take(named, -time.Second) // it has run out
	leads("")
	take(newHolder(""), time.Hour)
	leads("")
}
