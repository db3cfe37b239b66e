package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
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
	mu     sync.Mutex
	events []s4t.Event
	valid  bool
	away   bool
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
	page := reply.(*[]s4t.Event)
	for _, e := range q.events {
		if e.ID > req.(wire.EventList).After && len(*page) < eventPage {
			*page = append(*page, e)
		}
	}
	return nil
}

// Serve is not used.
func (q *bookQueue) Serve(context.Context, string, string, int, queue.Handler) error { return nil }

// flushWriter is a client that reads at once.
type flushWriter struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *flushWriter) Header() http.Header              { return http.Header{} }
func (w *flushWriter) WriteHeader(int)                  {}
func (w *flushWriter) FlushError() error                { return nil }
func (w *flushWriter) SetWriteDeadline(time.Time) error { return nil }
func (w *flushWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}
func (w *flushWriter) ids() (l []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.buf.String()) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			l = append(l, strings.TrimSpace(id))
		}
	}
	return l
}

func ev(id int64) s4t.Event { return s4t.Event{ID: id, Kind: "k", Project: "p"} }

// open starts a stream as watchEvents does.
func open(t *testing.T, q *bookQueue, after int64) (a *API, w *flushWriter, end func() error) {
	t.Helper()
	a, err := New(Config{Queue: q})
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := a.hub.add(wire.Caller{Project: "p", Role: s4t.RoleMember})
	if err != nil {
		t.Fatal(err)
	}
	w = &flushWriter{}
	s := &eventStream{api: a, watcher: watcher, secret: "x", w: w, rc: http.NewResponseController(w), last: after, floor: after, sent: map[int64]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	return a, w, func() error { cancel(); return <-done }
}

func (h *hub) tell(t *testing.T, e s4t.Event) {
	t.Helper()
	b, _ := json.Marshal(e)
	if _, err := h.handle(t.Context(), "event", b); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventThatTheQueueLostComesWithTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		a, w, end := open(t, q, -1)
		a.hub.tell(t, ev(5))
		synctest.Wait()
		q.mu.Lock()
		q.events = []s4t.Event{ev(4), ev(5), ev(6), ev(7)} // 6 was lost; 4 was before our time
		q.mu.Unlock()
		a.hub.tell(t, ev(7))
		synctest.Wait()
		if got := w.ids(); !slices.Equal(got, []string{"5", "7"}) {
			t.Errorf("before the heartbeat: %v", got)
		}
		time.Sleep(heartbeat)
		synctest.Wait()
		if got := w.ids(); !slices.Equal(got, []string{"5", "7", "6"}) {
			t.Errorf("after the heartbeat: %v", got)
		}
		time.Sleep(2 * heartbeat) // nothing comes twice, and what is remembered is forgotten
		a.hub.tell(t, ev(7))
		synctest.Wait()
		if got := w.ids(); len(got) != 3 {
			t.Errorf("after two more: %v", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestALongHistoryIsFetchedInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true}
		for i := range 2*eventPage + 10 {
			q.events = append(q.events, ev(int64(i+1)))
		}
		_, w, end := open(t, q, 0)
		synctest.Wait()
		if got := len(w.ids()); got != 2*eventPage+10 {
			t.Errorf("%d events", got)
		}
		end()
	})
}

func TestARevokedTokenEndsTheStreamAndAnAbsentConductorDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &bookQueue{valid: true, away: true}
		_, _, end := open(t, q, 0)
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
	h := newHub()
	slow, _ := h.add(wire.Caller{Project: "p", Role: s4t.RoleReader})
	fast, _ := h.add(wire.Caller{Project: "p", Role: s4t.RoleReader})
	for i := range int64(backlog + 1) {
		h.tell(t, ev(i+1))
		<-fast.events
	}
	n := 0
	for range slow.events { // ends: it was closed
		n++
	}
	if n != backlog {
		t.Errorf("%d events waited", n)
	}
	h.remove(slow) // twice is nothing
	h.close()
	if _, ok := <-fast.events; ok {
		t.Error("close did not cut")
	}
	if _, err := h.add(wire.Caller{}); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("added after close: %v", err)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	h := newHub()
	for range maxWatchers {
		if _, err := h.add(wire.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.add(wire.Caller{}); s4t.KindOf(err) != s4t.TooMany {
		t.Error(err)
	}
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
