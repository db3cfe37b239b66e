package lightningrod

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/wire"
)

// testCA is a CA's PEM and its name in BoardInfo.Trusts.
func testCA(t *testing.T) (text, name string) {
	t.Helper()
	_, der := makeCertificates(t, time.Now())
	sum := sha256.Sum256(der)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(sum[:])
}

func TestABoardTrustsWhatTheCloudAnnounces(t *testing.T) {
	first, firstName := testCA(t)
	next, nextName := testCA(t)
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		e, _ := engineFor(t, noDialer{}, always(c))
		e.id.CA = first
		var dialled string
		e.retrust = func(ca []byte, system bool) error { dialled = string(ca); return nil }
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		if r := c.reported(); r[len(r)-1].Info != nil {
			t.Errorf("nothing was announced, and the board reports %+v", r[len(r)-1].Info)
		}
		d := testDesired(4) // what is announced is no new generation
		d.Trust = wire.Trust{CAs: []string{first, next}}
		c.tell(d)
		synctest.Wait()
		r := c.reported()
		if last := r[len(r)-1]; last.Info == nil || !slices.Equal(last.Info.Trusts, []string{firstName, nextName}) {
			t.Fatalf("reported %+v, want to trust %s and %s", last.Info, firstName, nextName)
		}
		if dialled != first+first+next {
			t.Errorf("dials trust %q", dialled)
		}
		// The cloud is of an older version for a while, and says nothing of it.
		c.tell(testDesired(5))
		synctest.Wait()
		if got, damage := e.dir.announcedTrust(); len(got.CAs) != 2 || damage != "" {
			t.Errorf("kept %+v, %q", got, damage)
		}
		// It takes the announcement back.
		d.Trust.CAs = []string{first}
		c.tell(d)
		synctest.Wait()
		r = c.reported()
		if last := r[len(r)-1]; last.Info == nil || !slices.Equal(last.Info.Trusts, []string{firstName}) {
			t.Errorf("reported %+v, want to trust %s only", last.Info, firstName)
		}
		// What is not understood changes nothing.
		for _, cas := range [][]string{{"no PEM"}, {first, next, first, next, first}, {strings.Repeat(first, 100)}} {
			d.Trust.CAs = cas
			c.tell(d)
			synctest.Wait()
			if got, _ := e.dir.announcedTrust(); len(got.CAs) != 1 || got.CAs[0] != first {
				t.Errorf("kept %d CAs", len(got.CAs))
			}
		}
	})
}

func TestABoardThatCannotKeepAnAnnouncementSaysThatItDoesNotTrustIt(t *testing.T) {
	first, firstName := testCA(t)
	next, _ := testCA(t)
	e, _ := engineFor(t, noDialer{}, nil)
	e.id.CA = first
	if err := os.Mkdir(e.dir.path(trustFile), 0o700); err != nil { // in the way, for root too
		t.Fatal(err)
	}
	announced := wire.Trust{CAs: []string{first, next}}
	e.believe(announced)
	if got := e.trusting(); !slices.Equal(got, []string{firstName}) {
		t.Errorf("it says to trust %s", got)
	}
	if got := e.problems(); len(got) != 1 || !strings.Contains(got[0], "after a restart") {
		t.Errorf("problems %q", got)
	}
	if err := os.Remove(e.dir.path(trustFile)); err != nil {
		t.Fatal(err)
	}
	e.believe(announced) // with the next answer of the cloud
	if got := e.trusting(); len(got) != 2 || len(e.problems()) > 0 {
		t.Errorf("it says to trust %s, problems %q", got, e.problems())
	}
}

func TestWhatWasAnnouncedOutlivesARestartAndEndsWithTheIdentity(t *testing.T) {
	next, nextName := testCA(t)
	e, _ := engineFor(t, noDialer{}, nil)
	if err := e.dir.saveIdentity(e.id); err != nil {
		t.Fatal(err)
	}
	e.believe(wire.Trust{CAs: []string{next}})
	again, err := New(Config{State: string(e.dir)})
	if err != nil {
		t.Fatal(err)
	}
	again.id = e.id
	again.recall()
	if got := again.trusting(); !slices.Contains(got, nextName) {
		t.Errorf("after a restart it trusts %s", got)
	}
	if board := e.dir.patient(t.Context()); !strings.Contains(string(board.Identity.CA), next) {
		t.Error("the doctor does not know of it")
	}
	// A flipped bit: what the identity says stays.
	path := e.dir.path(trustFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, damage := e.dir.announcedTrust(); len(got.CAs) > 0 || damage == "" {
		t.Errorf("a damaged file: %+v, %q", got, damage)
	}
	if err := e.dir.remove(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(e.dir.path("*")); len(left) > 0 {
		t.Errorf("left after leave: %s", left)
	}
}

// FuzzTrust: no content of trust.json makes the board panic, nor trust what was
// not saved with its checksum.
func FuzzTrust(f *testing.F) {
	dir := stateDir(f.TempDir())
	if err := dir.saveTrust(wire.Trust{SystemRoots: true}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(dir.path(trustFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"sha256":"","trust":null}`))
	f.Add([]byte(`{"sha256":"","trust":{"cas":["x"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(trustFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, damage := dir.announcedTrust()
		if damage != "" && (len(got.CAs) > 0 || got.SystemRoots) || checkTrust(got) != nil {
			t.Errorf("trusts %+v of %q", got, b)
		}
		testIdentity().trusts(got)
	})
}
