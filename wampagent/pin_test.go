package wampagent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// patience is how long anything may take on a machine that is busy with other
// things.
const patience = 30 * time.Second

// pinBoard is a board whose pins do what a test says.
type pinBoard struct {
	*wamp.Session
	asked chan wire.PinAsk // what it was asked; capacity 64
	news  chan string      // and told
	came  chan wire.PinSamples

	mu     sync.Mutex // guards the fields below
	answer func(ctx context.Context, ask wire.PinAsk) (wire.PinAnswer, error)
	take   error // of samples of others
}

func (w *world) pinBoard() *pinBoard {
	w.t.Helper()
	s, _, _ := w.start("i1")
	b := &pinBoard{Session: s, asked: make(chan wire.PinAsk, 64), news: make(chan string, 64), came: make(chan wire.PinSamples, 64)}
	ctx := w.t.Context()
	for name, h := range map[string]wamp.Handler{
		wamp.PinsAsk: func(ctx context.Context, arg string) (string, error) {
			var ask wire.PinAsk
			if err := json.Unmarshal([]byte(arg), &ask); err != nil {
				return "", err
			}
			b.mu.Lock()
			answer := b.answer
			b.mu.Unlock()
			b.asked <- ask
			if answer == nil {
				return `{"samples":[{"pin":"sim/demo/out","seq":7}]}`, nil
			}
			a, err := answer(ctx, ask)
			return string(wire.Encode(a)), err
		},
		wamp.PinsSamples: func(_ context.Context, arg string) (string, error) {
			var req wire.PinSamples
			if err := json.Unmarshal([]byte(arg), &req); err != nil {
				return "", err
			}
			b.came <- req
			b.mu.Lock()
			defer b.mu.Unlock()
			return "{}", b.take
		},
	} {
		if err := s.Register(ctx, wamp.BoardURI(w.board, name), h); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := s.Subscribe(ctx, wamp.BoardURI(w.board, wamp.PinsNews), func(arg string) { b.news <- arg }); err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) pins(method string, req any) (a wire.PinAnswer, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	err = w.q.Call(ctx, wire.TopicWAMPPins+".wamp-agent-1", method, req, &a)
	return a, err
}

func (w *world) watch(sink wire.Sink, pins ...string) error {
	_, err := w.pins(wire.MethodPinsWatch, wire.BoardPinsWatch{Board: w.board, Pins: pins, Sink: sink, After: map[string]uint64{"sim/demo/out": 3}})
	return err
}

// sinkAt serves a topic that samples go to.
func (w *world) sinkAt(topic string, take func(ctx context.Context, s wire.PinSamples) error) (sink wire.Sink, stop func()) {
	w.t.Helper()
	sink = wire.Sink{Topic: wire.TopicAPIPins + "." + topic}
	stop = background(w.t, func(ctx context.Context) error {
		return w.q.Serve(ctx, wire.TopicAPIPins, topic, 8, queue.Mux{wire.MethodPinsSamples: queue.Handle(func(ctx context.Context, s wire.PinSamples) (wire.Empty, error) {
			return wire.Empty{}, take(ctx, s)
		})}.Serve)
	})
	w.t.Cleanup(stop)
	for s4t.KindOf(w.q.Call(w.t.Context(), sink.Topic, "is it there", wire.Empty{}, nil)) == s4t.Unavailable {
		time.Sleep(time.Millisecond)
	}
	return sink, stop
}

// send has a board send one sample.
func (w *world) send(b *pinBoard, seq int) error {
	return w.call(b.Session, wamp.Samples, wire.PinSamples{Board: "another", Samples: json.RawMessage(fmt.Sprintf(`[{"pin":"sim/demo/out","seq":%d}]`, seq))}, &wire.Empty{})
}

func soon[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

func TestABoardIsAskedForItsPins(t *testing.T) {
	w := newWorld(t)
	ask := wire.BoardPins{Board: w.board, Ask: wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/demo/out"}, Holder: "user:mia"}}
	if _, err := w.pins(wire.MethodPinsOfBoard, ask); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("before it is there: %v", err)
	}
	b := w.pinBoard()
	a, err := w.pins(wire.MethodPinsOfBoard, ask)
	if err != nil || len(a.Samples) != 1 || a.Samples[0].Seq != 7 {
		t.Errorf("%+v, %v", a, err)
	}
	if got := soon(t, "a question", b.asked); got.Holder != "user:mia" || got.Pins[0] != "sim/demo/out" {
		t.Errorf("it was asked %+v", got)
	}
	b.answer = func(context.Context, wire.PinAsk) (wire.PinAnswer, error) {
		return wire.PinAnswer{}, s4t.Errorf(s4t.Timeout, "read pin adc/0/1", "", "its driver does not answer")
	}
	if _, err := w.pins(wire.MethodPinsOfBoard, ask); s4t.KindOf(err) != s4t.Timeout || !strings.Contains(err.Error(), "driver") {
		t.Errorf("what the board says itself: %v", err)
	}
}

// TestASilentBoardHoldsNobodyForLong, and few at a time.
func TestASilentBoardHoldsNobodyForLong(t *testing.T) {
	w := newWorld(t)
	b := w.pinBoard()
	b.asked = make(chan wire.PinAsk, 256)
	b.answer = func(ctx context.Context, _ wire.PinAsk) (wire.PinAnswer, error) {
		<-ctx.Done()
		return wire.PinAnswer{}, ctx.Err()
	}
	ask := wire.BoardPins{Board: w.board, Ask: wire.PinAsk{Do: wire.PinRead}}
	kinds := make(chan s4t.Kind, 100)
	for range cap(kinds) {
		go func() {
			_, err := w.pins(wire.MethodPinsOfBoard, ask)
			kinds <- s4t.KindOf(err)
		}()
	}
	count := map[s4t.Kind]int{}
	for range cap(kinds) {
		count[soon(t, "an answer", kinds)]++
	}
	// Who gets a turn when the first have given up may find the board itself still busy with them.
	if count[s4t.Offline] < maxPinAsks || count[s4t.TooMany] < cap(kinds)-maxPinAsks-maxPinWaiting || count[s4t.Offline]+count[s4t.TooMany] != cap(kinds) {
		t.Errorf("they were told %v", count)
	}
	p, now := newPinSession(), make([]func(), maxPinAsks)
	for i := range now {
		now[i], _ = p.enter(t.Context(), "")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := p.enter(ended, ""); err == nil {
		t.Errorf("%d are asked at once", maxPinAsks+1)
	}
	now[0]()
	if leave, err := p.enter(t.Context(), ""); err != nil {
		t.Errorf("after one was answered: %v", err)
	} else {
		leave()
	}
}

// TestManyWatchersCostTheBoardOneStream: it is told what all of them watch, and each
// gets its samples in order.
func TestManyWatchersCostTheBoardOneStream(t *testing.T) {
	w := newWorld(t)
	b := w.pinBoard()
	if err := w.send(b, 1); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("while nobody watches: %v", err)
	}
	got := [2]chan wire.PinSamples{make(chan wire.PinSamples, 64), make(chan wire.PinSamples, 64)}
	one, _ := w.sinkAt("one", func(_ context.Context, s wire.PinSamples) error { got[0] <- s; return nil })
	two, _ := w.sinkAt("two", func(_ context.Context, s wire.PinSamples) error { got[1] <- s; return nil })
	for _, step := range []struct {
		sink wire.Sink
		pins []string
		want []string
	}{{one, []string{"b", "a"}, []string{"a", "b"}}, {two, []string{"c", "a"}, []string{"a", "b", "c"}}, {one, []string{"a"}, []string{"a", "c"}}} {
		if err := w.watch(step.sink, step.pins...); err != nil {
			t.Fatal(err)
		}
		ask := soon(t, "what is watched", b.asked)
		if ask.Do != wire.PinWatched || ask.All || fmt.Sprint(ask.Pins) != fmt.Sprint(step.want) || ask.After["sim/demo/out"] != 3 || ask.Term <= 0 || ask.Term > wire.PinWatchTerm {
			t.Errorf("the board hears %+v, want %v", ask, step.want)
		}
	}
	for seq := range 20 {
		if err := w.send(b, seq); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if s := soon(t, "samples", got[i]); s.Board != w.board || string(s.Samples) != fmt.Sprintf(`[{"pin":"sim/demo/out","seq":%d}]`, seq) {
				t.Errorf("sink %d got %+v %s", i, s, s.Samples)
			}
		}
	}
	if err := w.watch(two); err != nil {
		t.Fatal(err)
	}
	if ask := soon(t, "what is watched", b.asked); !ask.All || len(ask.Pins) > 0 {
		t.Errorf("one watches all: %+v", ask)
	}
	for _, sink := range []wire.Sink{one, two} {
		if _, err := w.pins(wire.MethodPinsWatch, wire.BoardPinsWatch{Board: w.board, Sink: sink, End: true}); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "the first end", b.asked)
	if ask := soon(t, "the second end", b.asked); ask.All || len(ask.Pins) > 0 || ask.Term != 0 {
		t.Errorf("nobody watches: %+v", ask)
	}
	if err := w.send(b, 1); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("after they have gone: %v", err)
	}
}

// TestWhatIsWatchedByALeaseEndsWithIt: the board hears what is for whom, and the sinks of a project end
// at the time of its lease, or when the cloud says so.
func TestWhatIsWatchedByALeaseEndsWithIt(t *testing.T) {
	w := newWorld(t)
	b := w.pinBoard()
	got := make(chan wire.PinSamples, 64)
	own, _ := w.sinkAt("own", func(_ context.Context, s wire.PinSamples) error { got <- s; return nil })
	lab, _ := w.sinkAt("lab", func(context.Context, wire.PinSamples) error {
		t.Error("samples come after the lease")
		return nil
	})
	watch := func(req wire.BoardPinsWatch, want ...wire.PinShare) {
		t.Helper()
		req.Board = w.board
		if _, err := w.pins(wire.MethodPinsWatch, req); err != nil {
			t.Fatal(err)
		}
		if ask := soon(t, "what is watched", b.asked); fmt.Sprint(ask.Shares) != fmt.Sprint(want) {
			t.Errorf("the board hears %+v, want %+v", ask.Shares, want)
		}
	}
	owners, labs := wire.PinShare{Project: "owner", Pins: []string{"a"}}, wire.PinShare{Project: "lab", Pins: []string{"a", "b"}}
	watch(wire.BoardPinsWatch{Sink: own, Project: "owner", Pins: []string{"a"}}, owners)
	watch(wire.BoardPinsWatch{Sink: lab, Project: "lab", Pins: []string{"b", "a"}, Until: time.Now().Add(time.Hour)}, labs, owners)
	watch(wire.BoardPinsWatch{Project: "lab", End: true}, owners)
	watch(wire.BoardPinsWatch{Sink: lab, Project: "lab", Pins: []string{"a"}, Until: time.Now()}, owners)
	if err := w.send(b, 1); err != nil {
		t.Fatal(err)
	}
	soon(t, "the owner's", got)
}

// TestASinkThatIsSlowOrGoneIsDropped; the others go on.
func TestASinkThatIsSlowOrGoneIsDropped(t *testing.T) {
	w := newWorld(t)
	b := w.pinBoard()
	got := make(chan wire.PinSamples, 64)
	good, _ := w.sinkAt("good", func(_ context.Context, s wire.PinSamples) error { got <- s; return nil })
	calls := make(chan int, 64)
	slow, _ := w.sinkAt("slow", func(ctx context.Context, _ wire.PinSamples) error { calls <- 1; <-ctx.Done(); return ctx.Err() })
	no, _ := w.sinkAt("no", func(context.Context, wire.PinSamples) error {
		calls <- 1
		return s4t.Errorf(s4t.NotFound, "take samples", "", "nobody here watches")
	})
	gone, stop := w.sinkAt("gone", nil)
	for _, sink := range []wire.Sink{good, slow, no, gone} {
		if err := w.watch(sink, "a"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for seq := range 3 {
		if err := w.send(b, seq); err != nil {
			t.Fatal(err)
		}
		soon(t, "samples", got)
	}
	if n := len(calls); n != 2 {
		t.Errorf("who took none was called %d times", n)
	}
	b.answer = func(context.Context, wire.PinAsk) (wire.PinAnswer, error) {
		return wire.PinAnswer{}, s4t.Errorf(s4t.NotFound, "watch", "", "no such pin")
	}
	if err := w.watch(no, "none"); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a pin that is not there: %v", err)
	}
	s, _ := w.agent.sessions.of(w.board)
	if n := len(s.pins().watching(time.Now())); n != 1 {
		t.Errorf("%d are there still", n)
	}
	if n := len(s.pins().watching(time.Now().Add(wire.PinWatchTerm))); n != 0 {
		t.Errorf("%d are there after their term", n)
	}
	b.answer = func(context.Context, wire.PinAsk) (wire.PinAnswer, error) {
		<-b.asked
		return wire.PinAnswer{}, nil
	}
	for i := range maxSinks + 1 {
		if err := w.watch(wire.Sink{Topic: fmt.Sprint("api-pins.", i)}, "a"); (s4t.KindOf(err) == s4t.TooMany) != (i == maxSinks) {
			t.Errorf("sink %d: %v", i, err)
		}
	}
}

// TestABoardWatchesAnother, and goes on after it took no samples for a while.
func TestABoardWatchesAnother(t *testing.T) {
	w := newWorld(t)
	remotes := make(chan wire.PinRemote, 64)
	stop := background(t, func(ctx context.Context) error {
		return w.q.Serve(ctx, wire.TopicPins, "", 4, queue.Mux{wire.MethodBoardRemote: queue.Handle(func(_ context.Context, req wire.PinRemote) (any, error) {
			remotes <- req
			if req.Ask != nil {
				return nil, s4t.Errorf(s4t.Conflict, "write a pin", "", "user ann has it")
			}
			return wire.PinRemoteAnswer{Answer: &wire.PinAnswer{}}, nil
		})}.Serve)
	})
	t.Cleanup(stop)
	b := w.pinBoard()
	watch := func() {
		t.Helper()
		lie := wire.PinRemote{Board: "x", Epoch: 9, Watch: &wire.PinWatch{Board: "gate", Sink: wire.Sink{Topic: "conductor"}}}
		if err := w.call(b.Session, wamp.Remote, lie, &wire.PinRemoteAnswer{}); err != nil {
			t.Fatal(err)
		}
		r := soon(t, "the question", remotes)
		if r.Board != w.board || r.Epoch != 1 || r.Watch.Sink != (wire.Sink{Topic: wire.TopicWAMPPins + ".wamp-agent-1", Watcher: w.board}) {
			t.Errorf("the conductor heard %+v %+v", r, r.Watch)
		}
	}
	watch()
	samples := func(seq int) error {
		_, err := w.pins(wire.MethodPinsSamples, wire.PinSamples{Board: "gate", Watcher: w.board, Samples: json.RawMessage(fmt.Sprintf(`[{"pin":"sim/demo/out","seq":%d}]`, seq))})
		return err
	}
	for seq := range 50 {
		if err := samples(seq); err != nil {
			t.Fatal(err)
		}
	}
	for next := uint64(0); next < 50; {
		var list []s4t.Sample
		if err := json.Unmarshal(soon(t, "samples", b.came).Samples, &list); err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.Seq != next {
				t.Fatalf("sample %d came, want %d", s.Seq, next)
			}
			next++
		}
	}
	b.mu.Lock()
	b.take = s4t.Errorf(s4t.NotFound, "take samples", "", "nobody here watches")
	b.mu.Unlock()
	var err error
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); { // it is told after the fact
		err = samples(50)
	}
	if s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("after the board took none: %v", err)
	}
	b.mu.Lock()
	b.take = nil
	b.mu.Unlock()
	watch()
	if err := samples(51); err != nil {
		t.Errorf("after it watched anew: %v", err)
	}
	if _, err := w.pins(wire.MethodPinsSamples, wire.PinSamples{Watcher: "nobody"}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("of a board that is not here: %v", err)
	}
	// That a pin is somebody else's does not end the session.
	if err := w.call(b.Session, wamp.Remote, wire.PinRemote{Ask: &wire.PinRequest{}}, &wire.PinRemoteAnswer{}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a pin that somebody has: %v", err)
	}
	// It hears of news as long as it mounts.
	if err := w.q.Fanout(t.Context(), wire.TopicEvents, wire.MethodNews, wire.News{Events: 12}); err != nil {
		t.Fatal(err)
	}
	if got := soon(t, "news", b.news); got != `{"event_id":12}` {
		t.Errorf("it hears %s", got)
	}
	if n := len(w.agent.mounts.due(time.Now().Add(mountTime + time.Second))); n != 0 {
		t.Errorf("%d boards are told after they asked nothing for long", n)
	}
}

func TestABoardReportsItsPins(t *testing.T) {
	w := newWorld(t)
	b := w.pinBoard()
	if err := w.call(b.Session, wamp.Pins, wire.PinReport{Board: "x", Epoch: 9, Pins: &[]s4t.Pin{}}, &wire.Empty{}); err != nil {
		t.Fatal(err)
	}
	if r := soon(t, "the report", w.c.pins); r.Board != w.board || r.Epoch != 1 || r.Pins == nil {
		t.Errorf("the conductor heard %+v", r)
	}
}
