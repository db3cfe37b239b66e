package lightningrod

import (
	"log/slog"
	"os"
	"testing"

	"github.com/stack4things/s4t/wire"
)

// TestWhatAnOwnerLeftGoesAlsoAfterADeath: an engine that dies between hearing of another owner and having
// wiped is followed by one that goes on there.
func TestWhatAnOwnerLeftGoesAlsoAfterADeath(t *testing.T) {
	dir := stateDir(t.TempDir())
	if err := dir.saveIdentity(testIdentity()); err != nil {
		t.Fatal(err)
	}
	e := &Engine{dir: dir, id: testIdentity(), cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	left := func() (n int) {
		for _, name := range []string{desiredFile, pinsFile, runsFile, usageFile, pluginsDir} {
			if _, err := os.Lstat(dir.path(name)); err == nil {
				n++
			}
		}
		return n
	}
	leave := func() {
		for _, name := range []string{desiredFile, pinsFile, runsFile, usageFile} {
			if err := dir.write(name, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(dir.path(pluginsDir)+"/p/data", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	if e.changesOwner(wire.BoardDesired{}) || e.wipeOwner() != nil || left() != 5 {
		t.Fatalf("%d are left of a board that was never transferred", left())
	}
	if !e.changesOwner(wire.BoardDesired{Tenure: 2}) || left() != 5 { // and dies here
		t.Fatal("another owner was not noticed")
	}
	if err := e.wipeOwner(); err != nil || left() != 0 {
		t.Errorf("%d are left, %v", left(), err)
	}
	if !dir.joined() {
		t.Error("the board is not enrolled any more")
	}
	leave()
	for _, tenure := range []int64{2, 1} { // the same, and a cloud that was restored from a backup
		if e.changesOwner(wire.BoardDesired{Tenure: tenure}) || e.wipeOwner() != nil || left() != 5 {
			t.Errorf("tenure %d: %d are left", tenure, left())
		}
	}
}

func FuzzOwner(f *testing.F) {
	f.Add([]byte(`{"tenure":3,"wiping":true}`))
	f.Add([]byte(`{"tenure":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(ownerFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := dir.owner(); err == nil && o.Tenure < 0 {
			t.Errorf("%+v", o)
		}
	})
}
