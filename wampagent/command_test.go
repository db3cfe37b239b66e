package wampagent

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// codeBoard is a board whose code answers what a test says.
type codeBoard struct {
	*wamp.Session
	asked chan wire.CodeAsk // what it was asked; capacity 1024

	mu     sync.Mutex // guards the field below
	answer func(ctx context.Context, ask wire.CodeAsk) (wire.CodeAnswer, error)
}

func (w *world) codeBoard() *codeBoard {
	w.t.Helper()
	s, _, _ := w.start("i1")
	b := &codeBoard{Session: s, asked: make(chan wire.CodeAsk, 1024)}
	b.answers(func(context.Context, wire.CodeAsk) (wire.CodeAnswer, error) { return wire.CodeAnswer{More: true}, nil })
	if err := s.Register(w.t.Context(), wamp.BoardURI(w.board, wamp.CodeAsk), func(ctx context.Context, arg string) (string, error) {
		var ask wire.CodeAsk
		if err := json.Unmarshal([]byte(arg), &ask); err != nil {
			return "", err
		}
		b.mu.Lock()
		answer := b.answer
		b.mu.Unlock()
		b.asked <- ask
		a, err := answer(ctx, ask)
		return string(wire.Encode(a)), err
	}); err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (b *codeBoard) answers(fn func(ctx context.Context, ask wire.CodeAsk) (wire.CodeAnswer, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = fn
}

func (w *world) code(ask wire.CodeAsk) (a wire.CodeAnswer, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	err = w.q.Call(ctx, wire.TopicWAMPCommands+".wamp-agent-1", wire.MethodCodeAsk, wire.BoardCodeAsk{Board: w.board, Ask: ask}, &a)
	return a, err
}

// TestABoardIsAskedForItsCode: what it says comes back, its refusals too; of one that
// is silent few wait, and not for long.
func TestABoardIsAskedForItsCode(t *testing.T) {
	w := newWorld(t)
	run := wire.CodeAsk{Do: wire.CodeRun, Run: &wire.Run{ID: s4t.OperationID(s4t.NewID()), Command: "move"}}
	if _, err := w.code(run); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("before it is there: %v", err)
	}
	b := w.codeBoard()
	if a, err := w.code(run); err != nil || !a.More {
		t.Errorf("%+v, %v", a, err)
	}
	if got := soon(t, "a question", b.asked); got.Run == nil || got.Run.ID != run.Run.ID {
		t.Errorf("it was asked %+v", got)
	}
	b.answers(func(context.Context, wire.CodeAsk) (wire.CodeAnswer, error) {
		return wire.CodeAnswer{}, s4t.Errorf(s4t.NotFound, "run", "", "there is no such command")
	})
	if _, err := w.code(run); s4t.KindOf(err) != s4t.NotFound || !strings.Contains(err.Error(), "no such command") {
		t.Errorf("it refuses: %v", err)
	}
	b.answers(func(ctx context.Context, _ wire.CodeAsk) (wire.CodeAnswer, error) {
		<-ctx.Done()
		return wire.CodeAnswer{}, ctx.Err()
	})
	kinds := make(chan s4t.Kind, maxCodeAsks+maxCodeWaiting+1)
	var asking sync.WaitGroup
	for range cap(kinds) {
		asking.Go(func() {
			_, err := w.code(run)
			kinds <- s4t.KindOf(err)
		})
	}
	asking.Wait()
	close(kinds)
	got := map[s4t.Kind]int{}
	for k := range kinds {
		got[k]++
	}
	if got[s4t.Offline] == 0 || got[s4t.TooMany] == 0 || got[s4t.Offline]+got[s4t.TooMany] != cap(kinds) {
		t.Errorf("a board that is silent: %v", got)
	}
}

// TestLinesGoToWhomTheBoardWasTold, in their term, and to nobody else.
func TestLinesGoToWhomTheBoardWasTold(t *testing.T) {
	w := newWorld(t)
	b := w.codeBoard()
	taken := make(chan wire.FeedLines, 64)
	var refuse error
	stop := background(t, func(ctx context.Context) error {
		return w.q.Serve(ctx, wire.TopicAPIFeeds, "1", 4, queue.Mux{wire.MethodFeedLines: queue.Handle(func(_ context.Context, l wire.FeedLines) (wire.Empty, error) {
			taken <- l
			return wire.Empty{}, refuse
		})}.Serve)
	})
	t.Cleanup(stop)
	topic := wire.TopicAPIFeeds + ".1"
	for s4t.KindOf(w.q.Call(t.Context(), topic, "is it there", wire.Empty{}, nil)) == s4t.Unavailable {
		time.Sleep(time.Millisecond)
	}
	feed := wire.Feed{Topic: topic, ID: s4t.NewID()}
	send := func(f wire.Feed, end bool) s4t.Kind {
		t.Helper()
		lines := wire.FeedLines{Feed: f, Board: "another", End: end, Lines: []s4t.LogLine{{Seq: 3, Stream: "stdout", Text: strings.Repeat("x", 2*wire.MaxFeedLine)}}}
		return s4t.KindOf(w.call(b.Session, wamp.Lines, lines, &wire.Empty{}))
	}
	if kind := send(feed, false); kind != s4t.NotFound {
		t.Errorf("to whom it was not told of: %s", kind)
	}
	follow := wire.CodeAsk{Do: wire.CodeFollow, Plugin: "cam", Feed: &feed, Term: wire.FeedTerm}
	if _, err := w.code(follow); err != nil {
		t.Fatal(err)
	}
	if kind := send(feed, false); kind != "" {
		t.Errorf("while it is followed: %s", kind)
	}
	if l := soon(t, "lines", taken); l.Board != w.board || l.Feed != feed || len(l.Lines) != 1 || l.Lines[0].Seq != 3 || len(l.Lines[0].Text) > wire.MaxFeedLine {
		t.Errorf("board %s, feed %v, %d lines", l.Board, l.Feed, len(l.Lines))
	}
	follow.End = true
	if _, err := w.code(follow); err != nil {
		t.Fatal(err)
	}
	if kind := send(feed, false); kind != s4t.NotFound {
		t.Errorf("after that: %s", kind)
	}

	ofRun := wire.Feed{Topic: topic, ID: s4t.NewID()}
	if _, err := w.code(wire.CodeAsk{Do: wire.CodeRun, Run: &wire.Run{ID: "x", Timeout: time.Minute, Before: time.Now(), Feed: &ofRun}}); err != nil {
		t.Fatal(err)
	}
	if kind := send(ofRun, true); kind != "" || len(taken) != 1 {
		t.Errorf("what a run says: %s, %d taken", kind, len(taken))
	}
	if kind := send(ofRun, false); kind != s4t.NotFound {
		t.Errorf("after its end: %s", kind)
	}

	follow.End = false
	w.code(follow)
	refuse = s4t.Errorf(s4t.NotFound, "take lines", "", "nobody is here")
	for range 2 {
		if kind := send(feed, false); kind != s4t.NotFound {
			t.Errorf("a follower that has gone: %s", kind)
		}
	}
	if len(taken) != 2 {
		t.Errorf("it was told %d times", len(taken))
	}
}

// TestAFeedHasItsTerm, and a board so many.
func TestAFeedHasItsTerm(t *testing.T) {
	var f feeds
	now := time.Now()
	put := func(id string, ask wire.CodeAsk) error {
		ask.Feed = &wire.Feed{ID: id}
		if ask.Run != nil {
			ask.Run.Feed = ask.Feed
		}
		_, err := f.put("follow", ask, now)
		return err
	}
	if put("log", wire.CodeAsk{Do: wire.CodeFollow, Term: time.Hour}) != nil || put("run", wire.CodeAsk{Do: wire.CodeRun, Run: &wire.Run{Before: now.Add(time.Second), Timeout: time.Minute}}) != nil {
		t.Fatal("they are refused")
	}
	if later := now.Add(wire.FeedTerm); f.open(wire.Feed{ID: "log"}, later) || !f.open(wire.Feed{ID: "log"}, later.Add(-1)) || !f.open(wire.Feed{ID: "run"}, later) || f.open(wire.Feed{ID: "run"}, later.Add(time.Minute)) {
		t.Error("their terms are others")
	}
	for range maxFeeds - 2 {
		if err := put(s4t.NewID(), wire.CodeAsk{Do: wire.CodeFollow, Term: wire.FeedTerm}); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("more", wire.CodeAsk{Do: wire.CodeFollow, Term: wire.FeedTerm}); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more: %v", err)
	}
	if put("log", wire.CodeAsk{Do: wire.CodeFollow, Term: wire.FeedTerm}) != nil {
		t.Error("one that goes on is refused")
	}
	now = now.Add(wire.FeedTerm)
	if put("more", wire.CodeAsk{Do: wire.CodeFollow, Term: wire.FeedTerm}) != nil {
		t.Error("those that are over are counted")
	}
}
