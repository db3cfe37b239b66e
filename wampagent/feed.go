package wampagent

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	maxFeeds   = 256                       // of one board
	feedTime   = 2 * time.Second           // a follower that does not take lines within it is dropped
	maxRunFeed = s4t.MaxCommandTimeout     // of what a run says
	feedGrace  = 2 * s4t.CommandGrace      // after a run's time, for its last lines
	feedBegins = s4t.MaxCommandTimeout / 4 // at most, from when a run is sent to when it begins
)

// feeds are those that a board may send lines to: what was asked of it in this
// session, each for its term.
type feeds struct {
	mu    sync.Mutex // guards the field below
	until map[wire.Feed]time.Time
}

// put notes the feed that a question names, and returns what forgets it again where
// the board refuses.
func (f *feeds) put(op string, ask wire.CodeAsk, now time.Time) (forget func(), err error) {
	var feed *wire.Feed
	term := ask.Term
	switch {
	case ask.Do == wire.CodeRun && ask.Run != nil:
		feed = ask.Run.Feed
		term = min(max(0, ask.Run.Before.Sub(now)), feedBegins) + min(ask.Run.Timeout, maxRunFeed) + feedGrace
	case ask.Do == wire.CodeFollow:
		feed = ask.Feed
		term = min(term, wire.FeedTerm)
	}
	if feed == nil {
		return func() {}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.until, func(_ wire.Feed, until time.Time) bool { return !now.Before(until) })
	if ask.End {
		delete(f.until, *feed)
		return func() {}, nil
	}
	if _, there := f.until[*feed]; !there && len(f.until) >= maxFeeds {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d follow it already", maxFeeds).After(time.Second)
	}
	if f.until == nil {
		f.until = map[wire.Feed]time.Time{}
	}
	f.until[*feed] = now.Add(term)
	return func() { f.drop(*feed) }, nil
}

// drop forgets a feed.
func (f *feeds) drop(feed wire.Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, feed)
}

// open reports whether lines may be sent to a feed now.
func (f *feeds) open(feed wire.Feed, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[feed])
}

// takeLines gives lines of a board to who follows, and returns when they are taken:
// the board goes as fast as its follower. NotFound: nobody follows any more.
func (a *Agent) takeLines(ctx context.Context, op string, s *codeSession, board s4t.BoardID, req wire.FeedLines) error {
	if len(req.Lines) > wire.MaxFeedLines {
		return s4t.Errorf(s4t.TooMany, op, "", "%d lines come at once, at most %d are possible", len(req.Lines), wire.MaxFeedLines)
	}
	if !s.feeds.open(req.Feed, time.Now()) {
		return s4t.Errorf(s4t.NotFound, op, "", "nobody follows")
	}
	for i := range req.Lines {
		l := &req.Lines[i]
		l.Stream = s4t.Line(l.Stream, s4t.MaxName)
		if len(l.Text) > wire.MaxFeedLine {
			l.Text = s4t.Line(l.Text, wire.MaxFeedLine)
		}
	}
	req.Board = board
	ctx, cancel := context.WithTimeout(ctx, feedTime)
	defer cancel()
	err := a.cfg.Queue.Call(ctx, req.Feed.Topic, wire.MethodFeedLines, req, nil)
	if err != nil || req.End {
		s.feeds.drop(req.Feed)
	}
	return err
}
