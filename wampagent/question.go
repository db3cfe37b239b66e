package wampagent

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what boards are asked. A board is its owner's: it may answer late, or
// never, however often it is asked.
const (
	questionTimeout = 8 * time.Second  // a board's time to answer
	answerLife      = 3 * time.Second  // an answer serves who asks the same meanwhile
	silentTime      = 20 * time.Second // a board that did not answer in time is not asked again for so long
	maxAskers       = 8                // that wait for one board at a time
)

// questions are those that boards are being asked: each board one at a time, and
// who asks the same shares the answer.
type questions struct {
	mu     sync.Mutex // guards the map and what is in it; never held while a board is asked
	boards map[s4t.BoardID]*asked
}

// asked is what is known of the questions to one board. It goes when there is
// nothing to know.
type asked struct {
	askers  int       // that wait here
	now     *question // nil: none
	last    *question // that was answered
	until   time.Time // until when last is good
	silence time.Time // until when the board is not asked
}

// question is one, and its answer once done is closed.
type question struct {
	what  string
	done  chan struct{}
	reply json.RawMessage
	err   error
}

func newQuestions() *questions { return &questions{boards: map[s4t.BoardID]*asked{}} }

// ask has a board asked by call, unless somebody asks it the same, or just did.
func (q *questions) ask(ctx context.Context, req wire.BoardCall, call func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	op, what := fmt.Sprintf("ask board %s for %s", req.Board, req.Procedure), req.Procedure+" "+string(req.Args)
	b, err := q.enter(op, req.Board)
	if err != nil {
		return nil, err
	}
	defer q.leave(req.Board, b)
	for {
		q.mu.Lock()
		own, mine := b.now, false
		switch left := time.Until(b.silence); {
		case left > 0:
			q.mu.Unlock()
			return nil, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the board did not answer a moment ago").After(left)
		case b.last != nil && b.last.what == what && time.Now().Before(b.until):
			own = b.last
		case own == nil:
			own, mine = &question{what: what, done: make(chan struct{})}, true
			b.now = own
		}
		q.mu.Unlock()
		if mine {
			// Not for the first who asks alone: he may give up, and others wait too.
			callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), questionTimeout)
			own.reply, own.err = call(callCtx)
			cancel()
			q.mu.Lock()
			b.now = nil
			switch s4t.KindOf(own.err) {
			case "":
				b.last, b.until = own, time.Now().Add(answerLife)
			case s4t.Timeout:
				b.silence = time.Now().Add(silentTime)
			}
			q.mu.Unlock()
			close(own.done)
		}
		select {
		case <-own.done:
		case <-ctx.Done():
			return nil, s4t.Errorf(s4t.Timeout, op, "", "no answer in the time given: %w", context.Cause(ctx))
		}
		if own.what == what {
			return own.reply, own.err
		}
	}
}

// enter counts one more who asks a board.
func (q *questions) enter(op string, board s4t.BoardID) (*asked, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.boards[board]
	if b == nil {
		b = &asked{}
		q.boards[board] = b
	}
	if b.askers >= maxAskers {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d wait for its answers already", b.askers).After(time.Second)
	}
	b.askers++
	return b, nil
}

// leave counts one less. What is known of a board is forgotten when it is worth
// nothing any more.
func (q *questions) leave(board s4t.BoardID, b *asked) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.askers--
	if b.askers > 0 {
		return
	}
	keep := max(time.Until(b.silence), time.Until(b.until))
	if keep <= 0 {
		delete(q.boards, board)
		return
	}
	time.AfterFunc(keep, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if now := time.Now(); b.askers == 0 && !now.Before(b.silence) && !now.Before(b.until) && q.boards[board] == b {
			delete(q.boards, board)
		}
	})
}
