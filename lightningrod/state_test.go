package lightningrod

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestIdentityIsKeptForItsOwnerOnly(t *testing.T) {
	dir := stateDir(filepath.Join(t.TempDir(), "state"))
	if err := dir.create(); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.identity(); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("before the join: %v, want not found", err)
	}
	if _, err := dir.pendingKey("code"); err != nil {
		t.Fatal(err)
	}
	want := testIdentity()
	if err := dir.saveIdentity(want); err != nil {
		t.Fatal(err)
	}
	got, err := dir.identity()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("identity = %+v, %v; want %+v", got, err, want)
	}
	for path, mode := range map[string]os.FileMode{string(dir): 0o700, dir.path(IdentityFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode().Perm(), err, mode)
		}
	}
	if _, err := os.Stat(dir.path(pendingFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pending key is still there: %v", err)
	}
}

func TestDamagedIdentityIsSaidSo(t *testing.T) {
	for _, tt := range []struct{ name, content string }{
		{"empty", ""},
		{"half of it", `{"board":"3f0c2a9e-5b1d-4c57`},
		{"not ours", `{"board":"x"}`},
		{"without a key", `{"board":"3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11","urls":["https://a"]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := stateDir(t.TempDir())
			if err := os.WriteFile(dir.path(IdentityFile), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := dir.identity(); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("error = %v, want one that says damaged", err)
			}
		})
	}
}

func TestDesiredStateOnDiskIsUsedOnlyWhole(t *testing.T) {
	whole := func(t *testing.T) (stateDir, []byte) {
		dir := stateDir(t.TempDir())
		if err := dir.saveDesired(kept{Desired: testDesired(7)}, kept{Desired: testDesired(6)}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(dir.path(desiredFile))
		if err != nil {
			t.Fatal(err)
		}
		return dir, b
	}
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		found  bool
		damage bool
	}{
		{name: "untouched", change: func(b []byte) []byte { return b }, found: true},
		{name: "lost", change: func([]byte) []byte { return nil }},
		{name: "empty", change: func([]byte) []byte { return []byte{} }, damage: true},
		{name: "cut in half", change: func(b []byte) []byte { return b[:len(b)/2] }, damage: true},
		{name: "one number changed", change: func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"generation":7`), []byte(`"generation":8`), 1)
		}, damage: true},
		{name: "zeros after a power cut", change: func(b []byte) []byte { return make([]byte, len(b)) }, damage: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, b := whole(t)
			if b = tt.change(b); b == nil {
				os.Remove(dir.path(desiredFile))
			} else if err := os.WriteFile(dir.path(desiredFile), b, 0o600); err != nil {
				t.Fatal(err)
			}
			d, found, damage := dir.desired(boardA)
			if found != tt.found || (damage != "") != tt.damage {
				t.Fatalf("found %v, damage %q; want %v, %v", found, damage, tt.found, tt.damage)
			}
			if found && d.Generation != 7 {
				t.Errorf("generation %d, want 7", d.Generation)
			}
		})
	}
	t.Run("every flipped bit is noticed", func(t *testing.T) {
		dir, b := whole(t)
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			if err := os.WriteFile(dir.path(desiredFile), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if d, found, _ := dir.desired(boardA); found && !reflect.DeepEqual(d, testDesired(7)) {
				t.Fatalf("byte %d flipped: accepted %+v", i, d)
			}
		}
	})
	t.Run("of an older version", func(t *testing.T) {
		dir := stateDir(t.TempDir())
		for _, desired := range []string{
			`{"board":"` + string(boardA) + `","generation":7,"ports":[{"id":"p"}],"services":[]}`,
			`{"board":"` + string(boardA) + `","generation":7,"resources":null}`,
		} {
			sum := sha256.Sum256([]byte(desired))
			file := wire.Encode(savedDesired{Sum: hex.EncodeToString(sum[:]), Desired: json.RawMessage(desired)})
			if err := os.WriteFile(dir.path(desiredFile), file, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, found, damage := dir.desired(boardA); found || !strings.Contains(damage, "names no resources") {
				t.Errorf("%s: found %v, damage %q; what it wants would be taken down", desired, found, damage)
			}
		}
	})
	t.Run("of a board of which nothing is wanted", func(t *testing.T) {
		e, _ := engineFor(t, noDialer{}, nil)
		d := testDesired(7)
		d.Resources = nil
		if err := e.adopt(d); err != nil {
			t.Fatal(err)
		}
		if d, found, damage := e.dir.desired(boardA); !found || d.Resources == nil || len(d.Resources) != 0 {
			t.Errorf("found %v, damage %q: %+v", found, damage, d)
		}
	})
	t.Run("of another board", func(t *testing.T) {
		dir, _ := whole(t)
		if _, found, damage := dir.desired(boardB); found || damage == "" {
			t.Errorf("found %v, damage %q", found, damage)
		}
	})
}

func TestDesiredStateIsNotWrittenAgainForTheClockAlone(t *testing.T) {
	dir := stateDir(t.TempDir())
	d := testDesired(3)
	if err := dir.saveDesired(kept{Desired: d}, kept{Desired: testDesired(2)}); err != nil {
		t.Fatal(err)
	}
	os.Remove(dir.path(desiredFile))
	later := d
	later.Time = time.Unix(5, 0)
	if err := dir.saveDesired(kept{Desired: later}, kept{Desired: d}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir.path(desiredFile)); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was written")
	}
}

func TestTwoAgentsDoNotShareAState(t *testing.T) {
	dir := stateDir(t.TempDir())
	first, err := dir.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.lock(); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("second lock: %v, want a conflict", err)
	}
	first.Close()
	second, err := dir.lock()
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	second.Close()
}

func TestKeyOfAnUnansweredJoinIsUsedAgain(t *testing.T) {
	dir := stateDir(t.TempDir())
	first, err := dir.pendingKey("one")
	if err != nil {
		t.Fatal(err)
	}
	again, err := dir.pendingKey("one")
	if err != nil || !again.Equal(first) {
		t.Errorf("the same code got another key (%v)", err)
	}
	other, err := dir.pendingKey("two")
	if err != nil || other.Equal(first) {
		t.Errorf("another code got the same key (%v)", err)
	}
}

func TestRemoveLeavesWhatIsNotOurs(t *testing.T) {
	dir := stateDir(filepath.Join(t.TempDir(), "state"))
	if err := dir.create(); err != nil {
		t.Fatal(err)
	}
	if err := dir.saveIdentity(testIdentity()); err != nil {
		t.Fatal(err)
	}
	foreign := dir.path("notes.txt")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(foreign); err != nil || dir.joined() {
		t.Errorf("foreign file: %v, joined: %v", err, dir.joined())
	}
	os.Remove(foreign)
	if err := dir.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory is still there: %v", err)
	}
}

func TestWhatAKilledProcessWasWritingIsRemoved(t *testing.T) {
	for name, act := range map[string]func(stateDir) error{
		"at the next start": func(d stateDir) error {
			f, err := d.lock()
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"when the board leaves": stateDir.remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := stateDir(t.TempDir())
			half, other := dir.path("."+IdentityFile+".123"), dir.path(".notes.123")
			for _, f := range []string{half, other} {
				if err := os.WriteFile(f, []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := act(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
			if _, err := os.Stat(other); err != nil {
				t.Errorf("somebody else's file: %v", err)
			}
		})
	}
}

// FuzzDesired checks that no content of desired.json makes the board panic,
// nor take a state that was not saved with its checksum.
func FuzzDesired(f *testing.F) {
	dir := stateDir(f.TempDir())
	if err := dir.saveDesired(kept{Desired: testDesired(7)}, kept{Desired: testDesired(6)}); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(dir.path(desiredFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"sha256":"","desired":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(desiredFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, found, damage := dir.desired(boardA); found == (damage != "") || found && d.Board != boardA {
			t.Errorf("found %v, damage %q, board %q", found, damage, d.Board)
		}
	})
}

// TestAFlippedBitInTheIdentityIsSaidSo: else a flipped bit in the key looks like
// a board that the cloud does not know.
func TestAFlippedBitInTheIdentityIsSaidSo(t *testing.T) {
	dir := stateDir(t.TempDir())
	want := testIdentity()
	if err := dir.saveIdentity(want); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(dir.path(IdentityFile))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(dir.path(IdentityFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := dir.identity(); err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("bit %d of %q is flipped, and it is taken for good", bit%8, b[max(0, bit/8-10):bit/8+1])
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	// A file from before there was a sum.
	if err := os.WriteFile(dir.path(IdentityFile), wire.Encode(want), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.identity(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without a sum: %+v, %v", got, err)
	}
}

// FuzzIdentity checks that a damaged identity.json gives an error and no more.
func FuzzIdentity(f *testing.F) {
	dir := stateDir(f.TempDir())
	if err := dir.saveIdentity(testIdentity()); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(dir.path(IdentityFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"board":5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(IdentityFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := dir.identity(); err == nil {
			id.PrivateKey()
		}
	})
}
