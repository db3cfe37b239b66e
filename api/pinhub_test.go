package api

import (
	"context"
	"encoding/json"
	"fmt"
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

const testBoard = s4t.BoardID("33333333-3333-4333-8333-333333333333")

// pinQueue is a conductor with one board, and the sink of the API.
type pinQueue struct {
	bookQueue

	mu2     sync.Mutex // guards what follows
	watches []wire.PinWatch
	newest  []s4t.Sample // a watch is answered with
	fail    error        // of a watch
	history []s4t.Sample
	sink    queue.Handler
	role    s4t.Role
}

func newPinQueue() *pinQueue {
	return &pinQueue{bookQueue: bookQueue{valid: true}, role: s4t.RoleReader}
}

// Call is that of the conductor.
func (q *pinQueue) Call(ctx context.Context, topic, method string, req, reply any) error {
	q.mu2.Lock()
	defer q.mu2.Unlock()
	switch method {
	case wire.MethodPinWatch:
		q.watches = append(q.watches, req.(wire.PinWatch))
		if q.fail != nil {
			return q.fail
		}
		if a, ok := reply.(*wire.PinAnswer); ok {
			a.Samples = q.newest
		}
		return nil
	case wire.MethodPinAsk:
		ask := req.(wire.PinRequest).Ask
		a := reply.(*wire.PinAnswer)
		if ask.Do == wire.PinHistory {
			if q.fail != nil {
				return q.fail
			}
			for _, s := range q.history {
				if s.Seq > ask.After[s.Pin] && len(a.Samples) < 2 {
					a.Samples = append(a.Samples, s)
				}
			}
			a.More = len(a.Samples) == 2
			return nil
		}
		for _, p := range ask.Pins {
			a.Pins = append(a.Pins, s4t.Pin{Name: strings.Replace(p, "label", "sim/demo/a", 1)})
		}
		return nil
	case wire.MethodBoardGet:
		if b, ok := reply.(*s4t.Board); ok {
			*b = s4t.Board{ID: testBoard, Name: "kitchen", Project: "p"}
		}
		return nil
	}
	return q.bookQueue.Call(ctx, topic, method, req, reply)
}

// Serve keeps the handler of the sink.
func (q *pinQueue) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	if topic == wire.TopicAPIPins {
		q.mu2.Lock()
		q.sink = h
		q.mu2.Unlock()
	}
	return q.bookQueue.Serve(ctx, topic, server, workers, h)
}

// send sends samples to the sink, as a WAMP agent does.
func (q *pinQueue) send(t testing.TB, list ...s4t.Sample) error {
	t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(wire.PinSamples{Board: testBoard, Samples: text})
	if err != nil {
		t.Fatal(err)
	}
	q.mu2.Lock()
	sink := q.sink
	q.mu2.Unlock()
	_, err = sink(t.Context(), wire.MethodPinsSamples, body)
	return err
}

// asked are the watches since the last time.
func (q *pinQueue) asked() []wire.PinWatch {
	synctest.Wait()
	q.mu2.Lock()
	defer q.mu2.Unlock()
	defer func() { q.watches = nil }()
	return q.watches
}

func (q *pinQueue) set(f func()) {
	q.mu2.Lock()
	defer q.mu2.Unlock()
	f()
}

// startPins runs an API on it.
func startPins(t *testing.T, q *pinQueue) *API {
	t.Helper()
	a, err := New(Config{Queue: q})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return a
}

// watching is one client.
type watching struct {
	flushWriter
	ended  chan error
	cancel context.CancelFunc
}

// lines are what it got: a pin with the number of its sample, and what is told of
// the board.
func (w *watching) lines() (l []string) {
	for frame := range strings.SplitSeq(w.text(), "\n\n") {
		name := ""
		for line := range strings.SplitSeq(frame, "\n") {
			if e, ok := strings.CutPrefix(line, "event: "); ok {
				name = e
			}
			data, ok := strings.CutPrefix(line, "data: ")
			switch {
			case !ok:
			case name != "":
				var n struct{ Status string }
				json.Unmarshal([]byte(data), &n)
				l = append(l, n.Status)
			default:
				var s s4t.Sample
				json.Unmarshal([]byte(data), &s)
				text := fmt.Sprintf("%s=%d", s.Pin[len("sim/demo/"):], s.Seq)
				if s.Merged > 0 {
					text += fmt.Sprintf("+%d", s.Merged)
				}
				l = append(l, text)
			}
		}
	}
	return l
}

// watch opens a stream as watchPins does.
func watch(t *testing.T, a *API, past wire.PinAsk, pins ...string) *watching {
	t.Helper()
	caller := wire.Caller{Project: "p", Role: s4t.RoleReader, Until: 1}
	board := s4t.Board{ID: testBoard, Name: "kitchen", Project: "p"}
	client := newPinClient(caller, pins)
	if err := a.pins.join(board, client); err != nil {
		t.Fatal(err)
	}
	w := &watching{ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callerKey{}, caller))
	w.cancel = cancel
	past.Do, past.Pins, past.Limit = wire.PinHistory, pins, wire.MaxSamples
	s := &pinStream{api: a, client: client, board: board, past: past, secret: "x", sse: &sse{w: w, rc: http.NewResponseController(w)}}
	go func() {
		err := s.run(ctx)
		client.leave()
		w.ended <- err
	}()
	synctest.Wait()
	return w
}

func (w *watching) end(t *testing.T) {
	t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
}

func sample(pin string, seq uint64) s4t.Sample {
	return s4t.Sample{Pin: "sim/demo/" + pin, Seq: seq, At: time.Date(2026, 1, 1, 0, 0, int(seq), 0, time.UTC), Value: float64(seq)}
}

func wantLines(t *testing.T, when string, w *watching, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.lines(); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", when, got, want)
	}
}

func TestAThousandClientsAreOneWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		q.newest = []s4t.Sample{sample("a", 4)}
		var clients []*watching
		for range 1000 {
			clients = append(clients, watch(t, a, wire.PinAsk{}, "sim/demo/a"))
		}
		if got := q.asked(); len(got) != 1 || !slices.Equal(got[0].Pins, []string{"sim/demo/a"}) || got[0].Board != string(testBoard) || !strings.HasPrefix(got[0].Sink.Topic, wire.TopicAPIPins+".") {
			t.Fatalf("%d watches: %+v", len(got), got[:1])
		}
		if err := q.send(t, sample("a", 5), sample("a", 6)); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			wantLines(t, "a client", c, "a=4", "a=5", "a=6")
		}
		// Other pins are another watch, with what all want; it is asked for again
		// well before its term is over.
		b := watch(t, a, wire.PinAsk{}, "sim/demo/b")
		if got := q.asked(); len(got) != 1 || !slices.Equal(got[0].Pins, []string{"sim/demo/a", "sim/demo/b"}) || got[0].After != nil {
			t.Errorf("with another pin: %+v", got)
		}
		q.send(t, sample("b", 1), sample("a", 7))
		wantLines(t, "the other", b, "b=1")
		wantLines(t, "the first", clients[0], "a=4", "a=5", "a=6", "a=7")
		time.Sleep(wire.PinWatchTerm/3 + time.Second)
		if got := q.asked(); len(got) != 1 {
			t.Errorf("renewed %d times", len(got))
		}
		for _, c := range clients {
			c.end(t)
		}
		if got := q.asked(); len(got) == 0 || !slices.Equal(got[len(got)-1].Pins, []string{"sim/demo/b"}) {
			t.Errorf("without the first: %+v", got)
		}
		b.end(t)
		if got := q.asked(); len(got) != 1 || !got[0].End {
			t.Errorf("at the end: %+v", got)
		}
		if err := q.send(t, sample("a", 8)); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("nobody watches: %v", err)
		}
	})
}

func TestWhoComesLaterGetsTheNewestFirstAndNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		q.newest = []s4t.Sample{sample("a", 9)}
		all := watch(t, a, wire.PinAsk{})
		if got := q.asked(); len(got) != 1 || got[0].Pins != nil {
			t.Errorf("all: %+v", got)
		}
		q.send(t, sample("a", 8)) // older than the answer
		q.send(t, sample("a", 10), sample("b", 1))
		q.send(t, sample("a", 10)) // twice
		later := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		wantLines(t, "the first", all, "a=9", "a=10", "b=1")
		wantLines(t, "later", later, "a=10")
		// lightning-rod began anew, and counts from 1.
		anew := sample("a", 1)
		anew.At = anew.At.Add(time.Hour)
		q.send(t, anew)
		wantLines(t, "anew", later, "a=10", "a=1")
		all.end(t)
		later.end(t)
	})
}

func TestASlowClientGetsTheNewestAndACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		fast := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		slow := newPinClient(wire.Caller{Project: "p", Until: 1}, nil) // reads nothing for now
		if err := a.pins.join(s4t.Board{ID: testBoard, Name: "kitchen", Project: "p"}, slow); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		const all = 3 * maxWaiting
		for seq := uint64(1); seq <= all; {
			var list []s4t.Sample
			for range 1000 {
				list = append(list, sample("a", seq))
				seq++
			}
			q.send(t, list...)
			synctest.Wait()
		}
		if got := len(fast.lines()); got < all {
			t.Errorf("the fast one got %d", got)
		}
		var told uint64
		for list := slow.queue.Take(pinBatch); len(list) > 0; list = slow.queue.Take(pinBatch) {
			for _, w := range list {
				told += 1 + w.merged
			}
		}
		if told != uint64(len(fast.lines())) {
			t.Errorf("the slow one was told of %d", told)
		}
		slow.leave()
		fast.end(t)
	})
}

func TestAMergedSampleSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		w := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		s := sample("a", 5)
		s.Merged = 3 // by the board
		q.send(t, s)
		wantLines(t, "merged by the board", w, "a=5+3")
		w.end(t)
	})
}

func TestAStreamOutlivesItsBoardsAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		w := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		q.send(t, sample("a", 1), sample("a", 2))
		q.asked()
		away := s4t.Errorf(s4t.Offline, "watch", "", "it is offline")
		q.set(func() { q.fail = away })
		q.happen(s4t.Event{ID: 1, Kind: "board.offline", Project: "p", Object: string(testBoard)})
		a.tellNews(t, 1)
		wantLines(t, "away", w, "a=1", "a=2", "offline")
		time.Sleep(time.Minute)
		q.asked()
		q.set(func() { q.fail = nil })
		q.happen(s4t.Event{ID: 2, Kind: "board.online", Project: "p", Object: string(testBoard)})
		a.tellNews(t, 2)
		if got := q.asked(); len(got) != 1 || got[0].After["sim/demo/a"] != 2 {
			t.Errorf("when it is back: %+v", got)
		}
		q.send(t, sample("a", 3))
		wantLines(t, "back", w, "a=1", "a=2", "offline", "online", "a=3")
		// Deleted, it ends.
		q.happen(s4t.Event{ID: 3, Kind: "board.deleted", Project: "p", Object: string(testBoard)})
		a.tellNews(t, 3)
		if err := <-w.ended; s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("deleted: %v", err)
		}
	})
}

// TestABoardThatCountsAnewLosesNoSample: it answers the watch with its newest, and then
// come all that it has.
func TestABoardThatCountsAnewLosesNoSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		l := watch(t, a, wire.PinAsk{})
		q.send(t, sample("a", 4711), sample("out", 12))
		anew := func(pin string, seq uint64) s4t.Sample {
			s := sample(pin, seq)
			s.At = s.At.Add(24 * time.Hour)
			return s
		}
		q.set(func() { q.newest = []s4t.Sample{anew("a", 3), anew("out", 0)} }) // the output was not written since
		q.happen(s4t.Event{ID: 1, Kind: "board.online", Project: "p", Object: string(testBoard)})
		a.tellNews(t, 1)
		synctest.Wait()
		q.send(t, anew("a", 1), anew("a", 2), anew("a", 3), anew("a", 4))
		wantLines(t, "after the restart", l, "a=4711", "out=12", "out=0", "a=1", "a=2", "a=3", "a=4")
		l.end(t)
	})
}

func TestARevokedTokenEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		w := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		time.Sleep(10 * heartbeat)
		wantLines(t, "until then", w)
		q.mu.Lock()
		q.valid = false
		q.mu.Unlock()
		time.Sleep(heartbeat)
		if err := <-w.ended; s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("ended with %v", err)
		}
		if got := q.asked(); len(got) == 0 || !got[len(got)-1].End {
			t.Errorf("the board is watched still: %+v", got)
		}
	})
}

func TestAStreamMayBeginWithTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		q.newest = []s4t.Sample{sample("a", 5)}
		for seq := range uint64(5) {
			q.history = append(q.history, sample("a", seq+1))
		}
		w := watch(t, a, wire.PinAsk{Since: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, "sim/demo/a")
		q.send(t, sample("a", 6))
		wantLines(t, "all of it", w, "a=1", "a=2", "a=3", "a=4", "a=5", "a=6")
		w.end(t)
	})
}

func TestTheHistoryOfABoardThatIsAwayComesBeforeWhatItSendsWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a := startPins(t, q)
		q.fail = s4t.Errorf(s4t.Offline, "watch", "", "it is offline")
		q.history = []s4t.Sample{sample("a", 1), sample("a", 2), sample("a", 3)}
		w := watch(t, a, wire.PinAsk{Since: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, "sim/demo/a")
		wantLines(t, "away", w, "offline")
		q.set(func() { q.fail = nil })
		q.happen(s4t.Event{ID: 1, Kind: "board.online", Project: "p", Object: string(testBoard)})
		a.tellNews(t, 1)
		q.send(t, sample("a", 3), sample("a", 4))
		wantLines(t, "back", w, "offline", "online", "a=1", "a=2", "a=3", "a=4")
		w.end(t)
	})
}

func TestStreamsOfSamplesEndWithTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newPinQueue()
		a, err := New(Config{Queue: q})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan struct{})
		go func() { a.Run(ctx); close(running) }()
		synctest.Wait()
		w := watch(t, a, wire.PinAsk{}, "sim/demo/a")
		cancel()
		<-running
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		if err := a.pins.join(s4t.Board{ID: testBoard}, newPinClient(wire.Caller{}, nil)); s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("joined a stopped API: %v", err)
		}
	})
}
