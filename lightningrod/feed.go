package lightningrod

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what is sent while it comes.
const (
	maxUnsentLines = 1024 // of one feed that wait for the link; of more the later ones are lost
	maxFollows     = 32   // logs that are followed at a time
	maxLogLines    = 1000 // of one answer
)

// Streams of lines that are no plugin's own, see [s4t.LogLine].
const (
	streamOutput = "output"
	streamAgent  = "agent"
)

// feed has lines on their way to who follows, over the session that they were asked
// for over: it ends with that.
type feed struct {
	to     wire.Feed
	of     cloud
	clock  func() time.Time
	ready  chan struct{} // cap 1
	closed chan struct{} // nothing is sent any more

	mu    sync.Mutex // guards what follows
	lines []s4t.LogLine
	seq   uint64 // of the last line of a run
	lost  int    // since the last line
	ended bool
}

// newFeed makes a feed that is sent until it is finished.
func (c *boardCommands) newFeed(of cloud, to wire.Feed) *feed {
	f := &feed{to: to, of: of, clock: c.clock, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.ctx
	if ctx == nil {
		close(f.closed)
		return f
	}
	c.running.Go(func() {
		defer close(f.closed)
		if err := f.send(ctx, c.board); err != nil && ctx.Err() == nil {
			c.log.Debug("a feed ends", "err", err)
		}
	})
	return f
}

// output puts what a run says while it runs.
func (f *feed) output(text json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	l := s4t.LogLine{Seq: f.seq, At: f.clock().UTC(), Stream: streamOutput}
	switch small := wire.Encode(text); {
	case len(small) > wire.MaxFeedLine:
		l.Stream, l.Text = streamAgent, fmt.Sprintf("an output of %d bytes is left out: at most %d are sent", len(small), wire.MaxFeedLine)
	default:
		l.Text = string(small)
	}
	f.put(l)
}

// log puts lines of a log.
func (f *feed) log(lines []s4t.LogLine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range lines {
		l.Text = s4t.Line(l.Text, wire.MaxFeedLine)
		f.put(l)
	}
}

// put queues a line, unless too many wait. Caller holds mu.
func (f *feed) put(l s4t.LogLine) {
	if f.ended {
		return
	}
	if len(f.lines) >= maxUnsentLines {
		f.lost++
		return
	}
	if f.lost > 0 {
		f.lines = append(f.lines, f.gap(l.Seq))
	}
	f.lines = append(f.lines, l)
	notify(f.ready)
}

// gap says what was lost before a line. Caller holds mu.
func (f *feed) gap(before uint64) s4t.LogLine {
	l := s4t.LogLine{Seq: max(before, 1) - 1, At: f.clock().UTC(), Stream: streamAgent, Text: fmt.Sprintf("lost %d lines", f.lost)}
	f.lost = 0
	return l
}

// finish says that no line comes any more, and waits a while until all are sent.
func (f *feed) finish(wait time.Duration) {
	f.mu.Lock()
	f.ended = true
	if f.lost > 0 {
		f.lines = append(f.lines, f.gap(f.seq+1))
	}
	f.mu.Unlock()
	notify(f.ready)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-f.closed:
	case <-timer.C:
	}
}

// take takes lines that fit into one message. end is set with the last of a feed.
func (f *feed) take() (lines []s4t.LogLine, end bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(fitting(f.lines), wire.MaxFeedLines)
	lines = f.lines[:n:n]
	if f.lines = f.lines[n:]; len(f.lines) > 0 {
		notify(f.ready)
	}
	return lines, f.ended && len(f.lines) == 0
}

// fitting is how many lines fit into one message.
func fitting(lines []s4t.LogLine) int {
	left := s4t.MaxMessage / 2
	for i, l := range lines {
		if left -= len(wire.Encode(l)); left < 0 {
			return i
		}
	}
	return len(lines)
}

// send sends lines until the feed is finished, its session ends, or nobody follows.
func (f *feed) send(ctx context.Context, board s4t.BoardID) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.of.Done():
			return errNoSession
		case <-f.ready:
		}
		lines, end := f.take()
		if len(lines) == 0 && !end {
			continue
		}
		for {
			err := f.of.Call(ctx, wamp.Lines, wire.FeedLines{Feed: f.to, Board: board, Lines: lines, End: end}, nil)
			if err == nil {
				break
			}
			switch kind := s4t.KindOf(err); {
			case kind == s4t.NotFound, kind == s4t.Forbidden, kind == s4t.Invalid, wamp.ReasonOf(err) == wamp.NoSuchProcedure:
				return err
			}
			if !pause(ctx, f.of, max(retryAfter(err), retryCall)) {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// follow is the log of a plugin on its way to who follows it.
type follow struct {
	feed *feed
	term *time.Timer
}

// follow has the log of a plugin sent for a term, or longer, or not any more.
func (c *boardCommands) follow(of cloud, ask wire.CodeAsk) error {
	op := "follow the log of " + s4t.Line(ask.Plugin, s4t.MaxName)
	if ask.Feed == nil || ask.Feed.ID == "" || len(ask.Feed.ID) > s4t.MaxName {
		return s4t.Errorf(s4t.Invalid, op, "", "no feed is named")
	}
	term := min(max(ask.Term, 0), wire.FeedTerm)
	c.mu.Lock()
	known := c.follows[ask.Feed.ID]
	if known != nil && !ask.End && known.feed.of == of && known.term.Reset(term) {
		c.mu.Unlock()
		return nil
	}
	full := len(c.follows) >= maxFollows
	c.mu.Unlock()
	if known != nil {
		known.feed.finish(0)
	}
	if ask.End {
		return nil
	}
	if full && known == nil {
		return s4t.Errorf(s4t.TooMany, op, "try again later", "%d logs are followed on the board", maxFollows)
	}
	f := c.newFeed(of, *ask.Feed)
	stop, err := c.plugins.Follow(ask.Plugin, ask.After, f.log)
	if err != nil {
		f.finish(0)
		return err
	}
	new := &follow{feed: f, term: time.AfterFunc(term, func() { f.finish(0) })}
	c.mu.Lock()
	c.follows[ask.Feed.ID] = new
	live := c.ctx != nil
	if live {
		c.running.Go(func() {
			<-f.closed
			c.unfollow(ask.Feed.ID, new, stop)
		})
	}
	c.mu.Unlock()
	if !live {
		c.unfollow(ask.Feed.ID, new, stop)
	}
	return nil
}

// unfollow forgets a log that is not followed any more.
func (c *boardCommands) unfollow(id string, over *follow, stop func()) {
	stop()
	over.term.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.follows[id] == over {
		delete(c.follows, id)
	}
}
