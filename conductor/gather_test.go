package conductor

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestWhatComesTogetherIsDoneTogether, and who comes alone does not wait.
func TestWhatComesTogetherIsDoneTogether(t *testing.T) {
	var sizes []int // one run at a time: the race detector looks
	entered, release := make(chan struct{}, 16), make(chan struct{})
	g := &gather[int, int]{run: func(_ context.Context, reqs []int) []outcome[int] {
		sizes = append(sizes, len(reqs))
		entered <- struct{}{}
		<-release
		out := make([]outcome[int], len(reqs))
		for i, r := range reqs {
			out[i].reply = -r
		}
		return out
	}}
	var wg sync.WaitGroup
	do := func(n int) {
		wg.Go(func() {
			if got, err := g.do(t.Context(), n); err != nil || got != -n {
				t.Errorf("%d: %d, %v", n, got, err)
			}
		})
	}
	do(1)
	<-entered
	gone, leave := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := g.do(gone, 2); s4t.KindOf(err) != s4t.Timeout {
			t.Errorf("who gave up: %v", err)
		}
	})
	for waiting := 0; waiting < 1; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		waiting = len(g.waiting)
		g.mu.Unlock()
	}
	leave() // the first of those that wait: the others do not wait for it
	for n := range together + 10 {
		do(n + 10)
	}
	for waiting := 0; waiting < together+10; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		waiting = len(g.waiting)
		g.mu.Unlock()
	}
	close(release)
	wg.Wait()
	if len(sizes) > 4 || sizes[0] != 1 {
		t.Errorf("they were done %v at a time", sizes)
	}
}

// TestNoMoreAreDoneTogetherThanAreDoneSoon: where a database is slow, a transaction of all that
// wait is over its time, with all of them in vain.
func TestNoMoreAreDoneTogetherThanAreDoneSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		each := 20 * time.Millisecond
		var sizes []int
		g := &gather[int, int]{run: func(_ context.Context, reqs []int) []outcome[int] {
			sizes = append(sizes, len(reqs))
			time.Sleep(time.Duration(len(reqs)) * each)
			return make([]outcome[int], len(reqs))
		}}
		crowd := func() {
			sizes = nil
			var wg sync.WaitGroup
			for i := range 2 * together {
				wg.Go(func() { g.do(t.Context(), i) })
			}
			wg.Wait()
		}
		crowd()
		if sizes[0] != 1 || sizes[1] != together || slices.Max(sizes[2:]) > 50 || len(sizes) > 9 {
			t.Errorf("where each takes %v, they were done %v at a time", each, sizes)
		}
		each = time.Millisecond
		crowd()
		crowd()
		if sizes[1] != together {
			t.Errorf("where each takes %v, they were done %v at a time", each, sizes)
		}
	})
}

// TestBoardsThatComeTogether: each has its own answer, whatever another's is.
func TestBoardsThatComeTogether(t *testing.T) {
	l := newLab(t)
	one, two := l.board("one"), l.board("two")
	ask := func(id s4t.BoardID, incarnation string) connecting {
		return connecting{wire.BoardConnected{Board: id, Agent: wampID, Incarnation: incarnation, Instance: "i"}, -1}
	}
	out := l.c.beginSessions(t.Context(), []connecting{ask(one.id, "w1"), ask("00000000-0000-4000-8000-0000000000ff", "w1"), ask(two.id, "w1"), ask(two.id, "long ago")})
	for i, want := range []s4t.Kind{"", s4t.NotFound, "", s4t.Unavailable} {
		if s4t.KindOf(out[i].err) != want {
			t.Errorf("answer %d: %v", i, out[i].err)
		}
	}
	if w := out[0].reply; w.Epoch != 1 || w.Desired.Board != one.id || out[2].reply.Desired.Name != "two" {
		t.Errorf("%+v", out)
	}
	l.await("board.online", "one")
	l.await("board.online", "two")

	// Of the next incarnation of the agent there is nothing but its row.
	l.wampHello("w2")
	for _, name := range []string{"one", "two"} {
		if b := l.boardNow(name); b.Status != s4t.BoardOffline {
			t.Errorf("%s is %s", name, b.Status)
		}
	}
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		b, err := tx.Board(one.id)
		if b.Ended != store.EndedReplaced {
			t.Errorf("its session ended with %d", b.Ended)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out = l.c.beginSessions(t.Context(), []connecting{ask(one.id, "w2")})
	if out[0].err != nil || l.boardNow("one").Status != s4t.BoardOnline || l.boardNow("two").Status != s4t.BoardOffline {
		t.Errorf("one is back: %+v", out)
	}
}

// TestBoardsThatGoTogether: an end that is late hides no newer session, and keeps no
// other board's from being written.
func TestBoardsThatGoTogether(t *testing.T) {
	l := newLab(t)
	one, two, three := l.online("one"), l.online("two"), l.online("three")
	late := two.epoch
	l.connect(two, "i1")
	end := func(id s4t.BoardID, epoch int64) wire.BoardDisconnected {
		return wire.BoardDisconnected{Board: id, Epoch: epoch}
	}
	for _, o := range l.c.endSessions(t.Context(), []wire.BoardDisconnected{
		end(one.id, one.epoch), end(one.id, one.epoch-1), end(two.id, late), end("00000000-0000-4000-8000-0000000000ff", 1), end(three.id, three.epoch),
	}) {
		if o.err != nil {
			t.Error(o.err)
		}
	}
	for name, want := range map[string]s4t.BoardStatus{"one": s4t.BoardOffline, "two": s4t.BoardOnline, "three": s4t.BoardOffline} {
		if b := l.boardNow(name); b.Status != want {
			t.Errorf("%s is %s, want %s", name, b.Status, want)
		}
	}
}

// TestBoardsThatShowTheirKeysTogether: one look answers all of them.
func TestBoardsThatShowTheirKeysTogether(t *testing.T) {
	l := newLab(t)
	one := l.board("one")
	fresh := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "fresh"})
	out := l.c.identify(t.Context(), []s4t.BoardID{fresh.ID, one.id, "00000000-0000-4000-8000-0000000000ff", one.id})
	for i, want := range []s4t.Kind{s4t.NotFound, "", s4t.NotFound, ""} {
		if s4t.KindOf(out[i].err) != want {
			t.Errorf("answer %d: %v", i, out[i].err)
		}
		if want == "" && (out[i].reply.Board != one.id || out[i].reply.Name != "one" || len(out[i].reply.PublicKey) == 0) {
			t.Errorf("answer %d: %+v", i, out[i].reply)
		}
	}
}
