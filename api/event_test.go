package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// bookQueue answers event.list and identity.verify from a book.
type bookQueue struct {
	mu      sync.Mutex
	events  []s4t.Event
	trimmed int64 // up to this id nothing is kept
	valid   bool
	away    bool
	asked   int // how often event.list was answered
}

// Call is that of the conductor.
func (q *bookQueue) Call(_ context.Context, _, method string, req, reply any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return s4t.Errorf(s4t.Unavailable, "call", "", "nobody is there")
	}
	if method == wire.MethodVerify {
		if !q.valid {
			return s4t.Errorf(s4t.Unauthenticated, "authenticate", "", "revoked")
		}
		*reply.(*wire.Caller) = wire.Caller{Project: "p", Role: s4t.RoleMember}
		return nil
	}
	if method == wire.MethodProjectGet { // a conductor that does not answer this
		return s4t.Errorf(s4t.Unavailable, "call", "", "nobody is there")
	}
	ask := req.(wire.EventList)
	q.asked++
	if 0 < ask.After && ask.After < q.trimmed {
		return s4t.Errorf(s4t.NotFound, "list events", "", "they are not kept any more")
	}
	page := reply.(*wire.List[s4t.Event])
	for _, e := range q.events {
		page.EventID = e.ID
		if e.ID > max(ask.After, q.trimmed) && (method == wire.MethodEventFeed || ask.Caller.Sees(e.Project)) && len(page.Items) < cmp.Or(ask.Limit, wire.MaxEvents) {
			page.Items = append(page.Items, e)
		}
	}
	return nil
}

// Serve is that of a queue on which nobody tells anything.
func (q *bookQueue) Serve(ctx context.Context, _, _ string, _ int, _ queue.Handler) error {
	<-ctx.Done()
	return nil
}

// happen writes events into the book.
func (q *bookQueue) happen(events ...s4t.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, events...)
}

// flushWriter is a client that reads at once, or not at all.
type flushWriter struct {
	mu       sync.Mutex
	buf      bytes.Buffer
	deadline time.Time
	stuck    bool
}

func (w *flushWriter) Header() http.Header { return http.Header{} }
func (w *flushWriter) WriteHeader(int)     {}
func (w *flushWriter) FlushError() error   { return nil }
func (w *flushWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return nil
}
func (w *flushWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck {
		time.Sleep(time.Until(w.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	return w.buf.Write(b)
}
func (w *flushWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// ids of the events that were sent.
func (w *flushWriter) ids() (l []string) {
	for frame := range strings.SplitSeq(w.text(), "\n\n") {
		if id, rest, _ := strings.Cut(frame, "\n"); strings.HasPrefix(rest, "event: k\n") {
			l = append(l, strings.TrimPrefix(id, "id: "))
		}
	}
	return l
}

func ev(id int64) s4t.Event { return s4t.Event{ID: id, Kind: "k", Project: "p"} }

// start runs an API on a book, in the bubble of a test.
func start(t *testing.T, q *bookQueue) *API {
	t.Helper()
	a, err := New(Config{Queue: q})
	if err != nil {
		t.Fatal(err)
	}
	a.feed.watched = func() bool { return true } // tests open streams without a place
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return a
}

// open starts a stream as watchEvents does, with -1 from now on.
func open(t *testing.T, a *API, after int64) (w *flushWriter, end func() error) {
	t.Helper()
	if after < 0 {
		var err error
		if after, err = a.newestEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w = &flushWriter{}
	s := &eventStream{api: a, caller: wire.Caller{Project: "p", Role: s4t.RoleMember}, secret: "x", sse: &sse{w: w, rc: http.NewResponseController(w)}, last: after}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	return w, func() error { cancel(); return <-done }
}

// tell gives news to an API, as the queue does.
func (a *API) tellNews(t *testing.T, id int64) {
	t.Helper()
	if _, err := a.news(t.Context(), wire.News{Events: id}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func want(t *testing.T, when string, w *flushWriter, ids ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.ids(); !slices.Equal(got, ids) {
		t.Errorf("%s: %v, want %v", when, got, ids)
	}
}

func TestAnEventWhoseNewsWereLostComesWithTheSlowPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true, events: []s4t.Event{ev(4)}} // before our time
		a := start(t, q)
		w, end := open(t, a, -1)
		q.happen(ev(5))
		a.tellNews(t, 5)
		want(t, "with news", w, "5")
		q.happen(ev(6)) // news of it are lost
		want(t, "before the slow poll", w, "5")
		time.Sleep(slowPoll)
		want(t, "after the slow poll", w, "5", "6")
		time.Sleep(2 * slowPoll) // nothing comes twice
		a.tellNews(t, 6)
		want(t, "after two more", w, "5", "6")
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingIsMissedBetweenTheStartOfAStreamAndItsFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		a := start(t, q)
		w, end := open(t, a, -1)
		q.happen(ev(1), ev(2)) // news of both are lost
		time.Sleep(slowPoll)
		want(t, "after the slow poll", w, "1", "2")
		end()
	})
}

func TestEventsAreReadOnceForAllWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		a := start(t, q)
		var all []*flushWriter
		for range 20 {
			w, end := open(t, a, -1)
			defer end()
			all = append(all, w)
		}
		before := q.asked
		for id := range int64(10) {
			q.happen(ev(id + 1))
			a.tellNews(t, id+1)
		}
		for _, w := range all {
			want(t, "a watcher", w, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
		}
		if n := q.asked - before; n > 10 {
			t.Errorf("event.list was asked %d times for 10 news", n)
		}
	})
}

func TestALongHistoryIsFetchedInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		for i := range 2*wire.MaxEvents + 10 {
			q.events = append(q.events, ev(int64(i+1)))
		}
		w, end := open(t, start(t, q), 0)
		synctest.Wait()
		if got := len(w.ids()); got != 2*wire.MaxEvents+10 {
			t.Errorf("%d events", got)
		}
		end()
	})
}

func TestTheRingIsBoundedAndWhoIsFurtherBehindIsServedFromTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true, events: []s4t.Event{ev(1)}}
		a := start(t, q)
		_, leave := open(t, a, -1) // without anybody who watches nothing is kept
		defer leave()
		for i := range int64(ringSize + 10) {
			q.happen(ev(i + 2))
		}
		a.tellNews(t, ringSize+11)
		synctest.Wait()
		if len(a.feed.ring) != ringSize || a.feed.floor != 11 {
			t.Errorf("the ring has %d events, after %d", len(a.feed.ring), a.feed.floor)
		}
		before := q.asked
		w, end := open(t, a, 11) // the ring has what came after
		synctest.Wait()
		if got := w.ids(); len(got) != ringSize || got[0] != "12" || q.asked != before {
			t.Errorf("%d events from the ring, %d questions", len(got), q.asked-before)
		}
		end()
		w, end = open(t, a, 10)
		synctest.Wait()
		if got := w.ids(); len(got) != ringSize+1 || got[0] != "11" || q.asked == before {
			t.Errorf("%d events from the list", len(got))
		}
		end()
	})
}

// resets returns the ids of the resets that were sent.
func (w *flushWriter) resets() (l []string) {
	for frame := range strings.SplitSeq(w.text(), "\n\n") {
		if id, rest, _ := strings.Cut(frame, "\n"); strings.HasPrefix(rest, "event: reset\n") {
			l = append(l, strings.TrimPrefix(id, "id: "))
		}
	}
	return l
}

func TestAGapIsAReset(t *testing.T) {
	book := func() *bookQueue {
		q := &bookQueue{valid: true, trimmed: 50}
		for i := range int64(100) {
			q.events = append(q.events, ev(i+1))
		}
		return q
	}
	for _, tt := range []struct {
		name  string
		after int64
	}{{"after an event that is not kept", 7}, {"after one that is not there yet: a backup was restored", 400}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := book()
				a := start(t, q)
				w, end := open(t, a, tt.after)
				synctest.Wait()
				if got := w.resets(); !slices.Equal(got, []string{"100"}) {
					t.Errorf("resets %v:\n%s", got, w.text())
				}
				q.happen(ev(101))
				a.tellNews(t, 101)
				want(t, "then it goes on", w, "101")
				end()
			})
		})
	}
	t.Run("a backup is restored while it is watched", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := book()
			a := start(t, q)
			w, end := open(t, a, -1)
			synctest.Wait()
			q.mu.Lock()
			q.events = q.events[:60]
			q.mu.Unlock()
			time.Sleep(slowPoll)
			synctest.Wait()
			if got := w.resets(); !slices.Equal(got, []string{"60"}) {
				t.Errorf("resets %v:\n%s", got, w.text())
			}
			q.happen(ev(61))
			a.tellNews(t, 61)
			want(t, "then it goes on", w, "61")
			end()
		})
	})
	t.Run("the conductor was away for longer than events are kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := book()
			a := start(t, q)
			w, end := open(t, a, -1)
			synctest.Wait()
			q.mu.Lock()
			for i := range int64(100) {
				q.events = append(q.events, ev(i+101))
			}
			q.trimmed = 150
			q.mu.Unlock()
			a.tellNews(t, 200)
			synctest.Wait()
			if got := w.resets(); !slices.Equal(got, []string{"200"}) {
				t.Errorf("resets %v:\n%s", got, w.text())
			}
			end()
		})
	})
}

func TestAHeartbeatSaysWhereToResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		a := start(t, q)
		w, end := open(t, a, -1)
		q.happen(s4t.Event{ID: 9, Kind: "k", Project: "another"})
		a.tellNews(t, 9)
		time.Sleep(heartbeat)
		want(t, "of another project", w)
		if !strings.HasSuffix(w.text(), ":\nid: 9\n\n") {
			t.Errorf("%q", w.text())
		}
		end()
	})
}

func TestARevokedTokenEndsTheStreamAndAnAbsentConductorDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true, away: true}
		a := start(t, q)
		_, end := open(t, a, 0)
		time.Sleep(3 * heartbeat)
		synctest.Wait()
		q.mu.Lock()
		q.away, q.valid = false, false
		q.mu.Unlock()
		time.Sleep(heartbeat)
		synctest.Wait()
		if err := end(); s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestASlowWatcherIsCutAndTheOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		ctx, stop := context.WithCancel(t.Context())
		a, err := New(Config{Queue: q})
		if err != nil {
			t.Fatal(err)
		}
		stopped := make(chan struct{})
		go func() { a.Run(ctx); close(stopped) }()
		synctest.Wait()
		slow, endSlow := open(t, a, -1)
		fast, endFast := open(t, a, -1)
		synctest.Wait()
		slow.mu.Lock()
		slow.stuck = true
		slow.mu.Unlock()
		var all []string
		for i := range int64(300) {
			q.happen(ev(i + 1))
			a.tellNews(t, i+1)
			all = append(all, strconv.FormatInt(i+1, 10))
		}
		want(t, "the fast one", fast, all...)
		time.Sleep(writeTimeout)
		if err := endSlow(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the slow one ended with %v", err)
		}
		q.happen(ev(301))
		a.tellNews(t, 301)
		want(t, "the fast one, later", fast, append(all, "301")...)
		stop() // the API stops: that ends what is left
		<-stopped
		if err := endFast(); err != nil {
			t.Errorf("the fast one ended with %v", err)
		}
		if _, err := a.watchEvents(t.Context(), &eventAsk{}); s4t.KindOf(kindOf(err)) != s4t.Unavailable {
			t.Errorf("opened after the end: %v", err)
		}
	})
}

// kindOf makes an error of a route an error again.
func kindOf(err error) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return &s4t.Error{Kind: p.Kind, Msg: p.Detail}
	}
	return err
}

func TestCheckDepth(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":[1,{"b":"[[[[[[[[[[[[[[[[[[[["}]}`: true,
		`"\"[[[[[[[[[[[[[[[[[[[[[["`:             true,
		strings.Repeat("[", maxDepth):            true,
		strings.Repeat("[", maxDepth+1):          false,
		strings.Repeat("[]", 1000):               true,
	} {
		if err := checkDepth([]byte(text)); (err == nil) != ok {
			t.Errorf("%.30s: %v", text, err)
		}
	}
}

// FuzzDecode holds that no body makes decode panic, and that what it takes is
// bounded in depth.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"kitchen","labels":{"a":"b"}}`, `{"a":"\\"}`, `[[[[`, `"\u0000"`, `{"a":1e999}`, strings.Repeat(`{"a":`, 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if decode(b, &v) == nil && depthOf(v) > maxDepth {
			t.Errorf("took a body of depth %d", depthOf(v))
		}
	})
}

func depthOf(v any) int {
	d := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			d = max(d, depthOf(e))
		}
		return d + 1
	case []any:
		for _, e := range v {
			d = max(d, depthOf(e))
		}
		return d + 1
	}
	return 0
}
