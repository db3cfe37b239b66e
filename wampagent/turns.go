package wampagent

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// turns bounds the questions of one sort that a board is asked: so many at a time,
// and so many that wait beside them.
type turns struct {
	asks chan struct{} // a place for each question that the board answers
	most int           // that are asked, or wait

	mu      sync.Mutex // guards the field below
	waiting int        // questions that are asked, or wait
}

func newTurns(atOnce, waiting int) *turns {
	return &turns{asks: make(chan struct{}, atOnce), most: atOnce + waiting}
}

// enter waits until the board can be asked; leave is called after its answer. The
// error is that of ctx where its time is over before.
func (t *turns) enter(ctx context.Context, op string) (leave func(), err error) {
	t.mu.Lock()
	if t.waiting >= t.most {
		t.mu.Unlock()
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d wait for the board's answers already", t.most-cap(t.asks)).After(time.Second)
	}
	t.waiting++
	t.mu.Unlock()
	done := func() {
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
	}
	select {
	case t.asks <- struct{}{}:
		return func() { <-t.asks; done() }, nil
	case <-ctx.Done():
		done()
		return nil, ctx.Err()
	}
}
