package wampagent

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestABoardThatDoesNotAnswerHoldsNobody: 600 ask one board that says nothing,
// which took every worker. It is asked once; who finds no room is told at once
// when to come back, and afterwards it is left alone.
func TestABoardThatDoesNotAnswerHoldsNobody(t *testing.T) {
	q := newQuestions()
	silent := wire.BoardCall{Board: "silent", Procedure: "doctor"}
	calls, release := new(atomic.Int32), make(chan struct{})
	call := func(context.Context) (json.RawMessage, error) {
		calls.Add(1)
		<-release
		return nil, s4t.Errorf(s4t.Timeout, "ask", "", "no answer")
	}
	errs := make(chan error, 600)
	var wg sync.WaitGroup
	for range cap(errs) {
		wg.Go(func() {
			_, err := q.ask(t.Context(), silent, call)
			errs <- err
		})
	}
	for range cap(errs) - maxAskers {
		if err := <-errs; s4t.KindOf(err) != s4t.TooMany || retryAfter(err) == 0 {
			t.Fatalf("one of many: %v", err)
		}
	}
	reply, err := q.ask(t.Context(), wire.BoardCall{Board: "other", Procedure: "doctor"}, func(context.Context) (json.RawMessage, error) { return json.RawMessage("1"), nil })
	if err != nil || string(reply) != "1" {
		t.Errorf("another board, meanwhile: %s, %v", reply, err)
	}
	close(release)
	wg.Wait()
	for range maxAskers {
		if err := <-errs; s4t.KindOf(err) != s4t.Timeout {
			t.Errorf("one who waited: %v", err)
		}
	}
	if _, err := q.ask(t.Context(), silent, call); s4t.KindOf(err) != s4t.Unavailable || retryAfter(err) == 0 {
		t.Errorf("a moment later: %v", err)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the board was asked %d times", n)
	}
}

// TestWhoAsksTheSameSharesTheAnswer, and another question waits for its turn.
func TestWhoAsksTheSameSharesTheAnswer(t *testing.T) {
	q := newQuestions()
	var asked []string
	ask := func(what string) string {
		reply, err := q.ask(t.Context(), wire.BoardCall{Board: "b", Procedure: what}, func(context.Context) (json.RawMessage, error) {
			asked = append(asked, what) // one at a time: the race detector looks
			return json.RawMessage(what), nil
		})
		if err != nil {
			t.Error(err)
		}
		return string(reply)
	}
	var wg sync.WaitGroup
	for range maxAskers / 2 {
		for _, what := range []string{"1", "2"} {
			wg.Go(func() {
				if got := ask(what); got != what {
					t.Errorf("%s was answered %s", what, got)
				}
			})
		}
	}
	wg.Wait()
	if len(asked) < 2 || len(asked) > maxAskers {
		t.Errorf("the board was asked %v", asked)
	}
}

func retryAfter(err error) time.Duration {
	e, _ := err.(*s4t.Error)
	if e == nil {
		return 0
	}
	return e.RetryAfter
}
