package lightningrod

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// The cloud may want the board's session to be at another of its agents. The board
// opens that before it leaves the one it has: it is online all the time, and what
// is being asked of it is answered.

// leaveSession is how long the session that was left goes on, for the questions
// that are on their way through it.
const leaveSession = 3 * time.Second

// leaving are the sessions that were left and have not ended yet.
type leaving struct{ running sync.WaitGroup }

// leave ends a session in a moment.
func (l *leaving) leave(ctx context.Context, c cloud) {
	l.running.Go(func() {
		defer c.Close()
		select {
		case <-ctx.Done():
		case <-c.Done():
		case <-time.After(leaveSession):
		}
	})
}

// move is the way from one session to another. Its methods are for the goroutine
// that serves the first.
type move struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	opened  chan cloud // the session at the other agent, nil where none came about; nil: no move is under way
}

// to opens a session at a URL, unless there is none or another is being opened.
func (m *move) to(ctx context.Context, e *Engine, url string) {
	if url == "" || m.opened != nil {
		return
	}
	opened := make(chan cloud, 1)
	ctx, m.cancel = context.WithCancel(ctx)
	m.opened = opened
	m.running.Go(func() {
		c, err := m.open(ctx, e, url)
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.Info("the session stays where it is", "not_at", url, "err", err)
		}
		opened <- c // nil after an error
	})
}

// open opens a session, for whose turn it waits where many want one there.
func (m *move) open(ctx context.Context, e *Engine, url string) (cloud, error) {
	for {
		c, err := e.connect(ctx, []string{url})
		after := retryAfter(err)
		if err == nil || after == 0 {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyRetry(after)):
		}
	}
}

// take has the cloud take the other session in, and returns it where it did.
func (m *move) take(ctx context.Context, e *Engine, c cloud) *begun {
	m.cancel()
	m.opened = nil
	if c == nil {
		return nil
	}
	b, err := e.begin(ctx, c, true)
	if err != nil {
		if ctx.Err() == nil && s4t.KindOf(err) != s4t.Unavailable {
			e.cfg.Log.Warn("the session stays where it is", "not_at", c.URL(), "err", err)
		}
		c.Close()
		return nil
	}
	return b
}

// stop gives up what is under way.
func (m *move) stop() {
	if m.opened == nil {
		return
	}
	m.cancel()
	if c := <-m.opened; c != nil {
		c.Close()
	}
	m.running.Wait()
}
