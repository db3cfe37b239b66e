package lightningrod

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
)

// TestPinsAreForWhoMayHaveThem: each question says for whom it is, and a watch sends what those may see
// who may now.
func TestPinsAreForWhoMayHaveThem(t *testing.T) {
	p, d := pinsOf(t, testIO)
	c := newWatchingCloud()
	d.set(c, 1)
	var lent atomic.Bool
	p.may = func(_ context.Context, op string, project s4t.ProjectID) error {
		if project == "lab" && !lent.Load() {
			return s4t.Errorf(s4t.Forbidden, op, "", "the lease is over")
		}
		return nil
	}
	p.watch.mu.Lock() // it is followed already
	p.watch.allowed = func(project s4t.ProjectID) bool { return p.may(t.Context(), "", project) == nil }
	p.watch.mu.Unlock()
	for _, ask := range []wire.PinAsk{
		{Do: wire.PinList, Project: "lab"},
		{Do: wire.PinRead, Project: "lab", Pins: []string{"sim/b/in"}},
		{Do: wire.PinWrite, Project: "lab", Values: map[string]float64{"sim/b/out": 1}},
		{Do: wire.PinClaim, Project: "lab", Pins: []string{"sim/b/out"}},
		{Do: wire.PinWatched, All: true, Term: wire.PinWatchTerm, Shares: []wire.PinShare{{Project: "lab"}}},
	} {
		if _, err := p.answer(t.Context(), c, string(wire.Encode(ask))); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("%s: %v", ask.Do, err)
		}
	}
	lent.Store(true)
	watched := func() int {
		p.watch.mu.Lock()
		defer p.watch.mu.Unlock()
		return len(p.watch.watched)
	}
	p.mustAsk(t, wire.PinAsk{Do: wire.PinWatched, All: true, Term: wire.PinWatchTerm, Shares: []wire.PinShare{{Project: "lab"}, {Project: "owner", Pins: []string{"sim/b/in"}}}})
	if n := watched(); n != 3 { // but for what the owner hides
		t.Errorf("%d pins are watched", n)
	}
	lent.Store(false)
	p.watch.refresh()
	if n := watched(); n != 1 {
		t.Errorf("%d pins are watched when the lease is over", n)
	}
}

// TestARunEndsWithItsLease: at once, and that is what is told of it; the owner's goes on.
func TestARunEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newHearingCloud()
		plugins := newFakePlugins()
		c, stop := runsOn(t, t.TempDir(), plugins, cloud)
		defer stop()
		c.may = func(_ context.Context, op string, project s4t.ProjectID, _ s4t.LeaseID, a lease.Action) (s4t.LeaseID, error) {
			switch {
			case project == "lab" && a == lease.Commands:
				return "night", nil
			case project == "owner":
				return "", nil
			}
			return "", s4t.Errorf(s4t.Forbidden, op, "", "no lease")
		}
		strange, leased, own := order(1, "wait"), order(2, "wait"), order(3, "wait")
		leased.Project, own.Project = "lab", "owner"
		if _, err := asked(t, c, cloud, wire.CodeAsk{Do: wire.CodeRun, Run: &strange}); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("a run of a stranger: %v", err)
		}
		runs(t, c, cloud, leased, 0)
		runs(t, c, cloud, own, 0)
		synctest.Wait()
		c.endLeased(func(id s4t.LeaseID) bool { return id == "night" })
		synctest.Wait()
		st, _ := c.journal.Find(leased.ID, "")
		if st.Status != s4t.OperationFailed || st.ErrorKind != s4t.Forbidden || !strings.Contains(st.Error, "lease") {
			t.Errorf("it ended as %+v", st)
		}
		if st, _ := c.journal.Find(own.ID, ""); st.Status != s4t.OperationStarted {
			t.Errorf("the owner's is %s", st.Status)
		}
		again := runs(t, c, cloud, leased, 0) // what is known needs no lease
		if again.Status != s4t.OperationFailed {
			t.Errorf("asked again it is %s", again.Status)
		}
		plugins.goOn <- nil
	})
}

// BenchmarkLeaseOfAStream is what a board that is leased 64 times ahead pays for each stream, pin order
// and command: the kernel's clock is read, and the book is asked. Frames and bytes pay nothing.
func BenchmarkLeaseOfAStream(b *testing.B) {
	l := testLeases(stateDir(b.TempDir()), nil)
	l.moment = kernelMoment()
	book := testBook(7, lentAt)
	for i := range 64 {
		from := lentAt.Add(time.Duration(i+1) * time.Hour)
		book.Held = append(book.Held, wire.BookEntry{Lease: s4t.LeaseID(s4t.NewID()), Name: "later", Project: "others", From: from.UnixMicro(), Until: from.Add(time.Hour).UnixMicro(), Allow: []string{"ssh"}})
	}
	l.take(book.Sign(conductorKey), nil)
	for b.Loop() {
		if _, err := l.decide("open a stream", "lab", "night", lease.SSH); err != nil {
			b.Fatal(err)
		}
	}
}
