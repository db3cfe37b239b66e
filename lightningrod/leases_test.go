package lightningrod

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
)

// bootClock is a machine's clock since its boot, that a test moves.
type bootClock struct {
	mu  sync.Mutex // guards now
	now lease.Moment
}

func (c *bootClock) moment() lease.Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *bootClock) set(boot string, since time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = lease.Moment{Boot: boot, Since: since}
}

// lentAt is the cloud's time in these tests.
var lentAt = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// testBook is a book of boardA: the project lab has it by the lease "night" from lentAt for ten minutes.
func testBook(number int64, at time.Time) wire.Book {
	return wire.Book{Board: boardA, Number: number, Time: at.UnixMicro(), Owner: "owner", Held: []wire.BookEntry{{
		Lease: "night", Name: "night", Project: "lab", From: lentAt.UnixMicro(), Until: lentAt.Add(10 * time.Minute).UnixMicro(), Allow: []string{"ssh", "bridge", "fly"},
	}}}
}

// testLeases are the leases of a board whose state is in dir.
func testLeases(dir stateDir, clock *bootClock) *leases {
	l := newLeases(boardA, dir, slog.New(slog.DiscardHandler))
	l.key, l.moment = func() ed25519.PublicKey { return testIdentity().TicketKey }, clock.moment
	return l
}

func (l *leases) lab(a lease.Action) error {
	_, err := l.decide("use it", "lab", "night", a)
	return err
}

func TestABoardTakesBooksThatGrowAndAreSigned(t *testing.T) {
	clock := &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}}
	l := testLeases(stateDir(t.TempDir()), clock)
	if l.lab(lease.SSH) == nil {
		t.Error("what nobody told is allowed")
	}
	l.take(testBook(7, lentAt).Sign(conductorKey), nil)
	if err := l.lab(lease.SSH); err != nil {
		t.Error(err)
	}
	if l.lab(lease.Pins) == nil {
		t.Error("it allows what the lease does not")
	}
	released := testBook(8, lentAt.Add(time.Minute))
	released.Held = nil
	l.take(released.Sign(conductorKey), nil)
	if err := l.lab(lease.SSH); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("a lease that was released: %v", err)
	}
	_, other, _ := ed25519.GenerateKey(nil)
	forBoardB := testBook(9, lentAt)
	forBoardB.Board = boardB
	for name, text := range map[string]string{
		"an older one":         testBook(7, lentAt.Add(2*time.Minute)).Sign(conductorKey),
		"the same, but before": testBook(8, lentAt).Sign(conductorKey),
		"one that is forged":   testBook(9, lentAt).Sign(other),
		"another board's":      forBoardB.Sign(conductorKey),
		"one that is cut":      testBook(9, lentAt).Sign(conductorKey)[:100],
		"a ticket":             wire.Ticket{ID: "1", Board: boardA}.Sign(conductorKey),
	} {
		l.take(text, nil)
		if l.lab(lease.SSH) == nil || len(l.problems()) != 1 {
			t.Errorf("%s was taken: %v", name, l.problems())
		}
	}
	l.take(testBook(9, lentAt).Sign(conductorKey), nil)
	if err := l.lab(lease.SSH); err != nil || len(l.problems()) > 0 {
		t.Errorf("a newer one: %v, %v", err, l.problems())
	}
}

// TestLeasesEndByTheClockThatNobodySets: what is told late gives no time, a restart of lightning-rod
// goes on with what it kept, and a boot waits for the cloud.
func TestLeasesEndByTheClockThatNobodySets(t *testing.T) {
	dir := stateDir(t.TempDir())
	clock := &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}}
	l := testLeases(dir, clock)
	l.take(testBook(7, lentAt).Sign(conductorKey), nil)
	clock.set("one", time.Hour+9*time.Minute)
	l.take(testBook(7, lentAt).Sign(conductorKey), nil) // it was kept back on its way
	again := testLeases(dir, clock)
	again.restore()
	for name, l := range map[string]*leases{"at run": l, "started again": again} {
		clock.set("one", time.Hour+10*time.Minute-time.Millisecond)
		if err := l.lab(lease.SSH); err != nil {
			t.Errorf("%s, at the last moment: %v", name, err)
		}
		clock.set("one", time.Hour+10*time.Minute)
		if l.lab(lease.SSH) == nil {
			t.Errorf("%s: it lasts longer than it does", name)
		}
	}
	clock.set("two", time.Second)
	booted := testLeases(dir, clock)
	booted.restore()
	if err := booted.lab(lease.SSH); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("after a boot: %v", err)
	}
	if _, err := booted.decide("use it", "owner", "", lease.SSH); err != nil {
		t.Errorf("the owner after a boot: %v", err)
	}
	booted.take(testBook(6, lentAt).Sign(conductorKey), nil)
	if booted.lab(lease.SSH) == nil {
		t.Error("a restart forgot how far the books are")
	}
	booted.take(testBook(7, lentAt.Add(time.Minute)).Sign(conductorKey), nil)
	if err := booted.lab(lease.SSH); err != nil {
		t.Errorf("when the cloud has spoken: %v", err)
	}
}

func TestADamagedBookIsFetchedAgain(t *testing.T) {
	dir := stateDir(t.TempDir())
	clock := &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}}
	testLeases(dir, clock).take(testBook(7, lentAt).Sign(conductorKey), nil)
	b, err := os.ReadFile(dir.path(bookFile))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(dir.path(bookFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	l := testLeases(dir, clock)
	l.restore()
	if l.lab(lease.SSH) == nil {
		t.Error("a damaged book allows something")
	}
	l.take(testBook(7, lentAt).Sign(conductorKey), nil)
	if err := l.lab(lease.SSH); err != nil {
		t.Error(err)
	}
}

func TestABoardThatIsNotLentWritesNoBook(t *testing.T) {
	dir := stateDir(t.TempDir())
	l := testLeases(dir, &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}})
	b := testBook(7, lentAt)
	b.Held = nil
	l.take(b.Sign(conductorKey), nil)
	if _, found, _ := dir.savedBook(); found {
		t.Error("it did")
	}
}

// TestBeforeItRefusesABoardAsksForANewerBook: the cloud allowed it, and its book is on the way.
func TestBeforeItRefusesABoardAsksForANewerBook(t *testing.T) {
	l := testLeases(stateDir(t.TempDir()), &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}})
	l.online = func() (bool, <-chan struct{}) { return true, nil }
	asked := 0
	l.fetch = func() {
		asked++
		l.asking()
		l.take(testBook(int64(asked), lentAt).Sign(conductorKey), nil)
	}
	if by, err := l.may(t.Context(), "open it", "lab", "night", lease.SSH); err != nil || by != "night" || asked != 1 {
		t.Errorf("by %q, %v, asked %d times", by, err, asked)
	}
	if _, err := l.may(t.Context(), "open it", "lab", "night", lease.Pins); s4t.KindOf(err) != s4t.Forbidden || asked != 2 {
		t.Errorf("what no book allows: %v, asked %d times", err, asked)
	}
}

func TestWhatALeaseMadeIsThereWhileItLasts(t *testing.T) {
	clock := &bootClock{now: lease.Moment{Boot: "one", Since: time.Hour}}
	l := testLeases(stateDir(t.TempDir()), clock)
	l.take(testBook(7, lentAt).Sign(conductorKey), nil)
	by := wire.Leased{For: "lab", Lease: "night"}
	want := []wire.Resource{
		wire.NewResource(wire.KindPort, "own", wire.DesiredPort{}),
		wire.NewResource(wire.KindPort, "leased", wire.DesiredPort{Leased: by}),
		wire.NewResource(wire.KindService, "not allowed", wire.DesiredService{Leased: by}),
		wire.NewResource(wire.KindPlugin, "plugin", wire.DesiredPlugin{Running: true, OnBoot: true, Leased: by}),
	}
	ids := func() (got []string) {
		admitted, held := l.admitted(want, nil)
		for _, r := range admitted {
			got = append(got, r.ID)
			var d wire.DesiredPlugin
			if r.Kind == wire.KindPlugin {
				if decode(r, &d); d.Running || d.OnBoot {
					t.Error("the plugin runs")
				}
			}
		}
		for _, h := range held {
			got = append(got, "!"+h.ID)
		}
		return got
	}
	if got, want := ids(), []string{"own", "leased", "plugin", "!not allowed", "!plugin"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if l.turned(want) {
		t.Error("nothing has changed")
	}
	clock.set("one", 2*time.Hour)
	if !l.turned(want) {
		t.Error("the lease is over")
	}
	if got, want := ids(), []string{"own", "plugin", "!leased", "!not allowed", "!plugin"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTheEndOfALeaseIsTold: with no word from the cloud, by the one timer.
func TestTheEndOfALeaseIsTold(t *testing.T) {
	start := time.Now()
	l := testLeases(stateDir(t.TempDir()), nil)
	l.moment = func() lease.Moment { return lease.Moment{Boot: "one", Since: time.Hour + time.Since(start)} }
	ends := make(chan bool, 64)
	l.end = func(over func(s4t.LeaseID) bool) { ends <- over("night") }
	l.take(testBook(7, lentAt.Add(10*time.Minute-100*time.Millisecond)).Sign(conductorKey), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx) }()
	defer func() { cancel(); <-done }()
	for !<-ends {
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("it ended after %v", took)
	}
}

// FuzzBookFile: no content of book.json makes the board panic, nor gives it a book that was not saved
// with its checksum.
func FuzzBookFile(f *testing.F) {
	f.Add([]byte(`{"sha256":"","kept":null}`))
	f.Add([]byte(`{"sha256":"","kept":{"book":"x.y","boot":"b","since":1}}`))
	f.Add([]byte(`{"since":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		for _, text := range [][]byte{b, []byte(`{"sha256":"` + hex.EncodeToString(sum[:]) + `","kept":` + string(b) + `}`)} {
			s, err := parseSavedBook(text)
			if err != nil && s != (savedBook{}) || s.Since < 0 || len(s.Boot) > s4t.MaxName {
				t.Errorf("%q is %+v, %v", text, s, err)
			}
			wire.VerifyBook(testIdentity().TicketKey, boardA, s.Book)
		}
	})
}
