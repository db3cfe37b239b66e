package api

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// feedWorkers take lines off the queue. A feed holds one at most: its board
	// sends the next when the lines before were taken.
	feedWorkers = 128
	// takeLines is how long a board waits for a client that does not read; then
	// it sends the lines again.
	takeLines = 2 * time.Second
	// feedQueue is how many messages of a feed wait for its client.
	feedQueue = 8
)

// feedHub has the lines that boards send to clients of this process: what
// commands say while they run, and logs of plugins that are followed.
type feedHub struct {
	api    *API
	server string // of the topic: made anew by every start

	mu    sync.Mutex // guards feeds; a leaf
	feeds map[string]*lineFeed
}

func newFeedHub(a *API) *feedHub {
	return &feedHub{api: a, server: s4t.NewID(), feeds: map[string]*lineFeed{}}
}

// lineFeed is one client's lines.
type lineFeed struct {
	wire.Feed
	board s4t.BoardID         // whose events wake it; empty: nobody's
	lines chan wire.FeedLines // in order; some may come twice
	woken chan struct{}       // cap 1: the board has come or gone
	gone  chan struct{}       // closed when nobody reads any more
}

// open makes a feed, until close.
func (h *feedHub) open(board s4t.BoardID) *lineFeed {
	f := &lineFeed{
		Feed:  wire.Feed{Topic: wire.TopicAPIFeeds + "." + h.server, ID: s4t.NewID()},
		board: board, lines: make(chan wire.FeedLines, feedQueue), woken: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.feeds[f.ID] = f
	return f
}

// close ends what open began.
func (h *feedHub) close(f *lineFeed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.feeds, f.ID)
	close(f.gone)
}

// heard takes what happened to boards; nil: events may have been missed.
func (h *feedHub) heard(events []s4t.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.feeds) == 0 {
		return
	}
	boards := map[s4t.BoardID]bool{}
	for _, e := range events {
		if e.Kind == "board.online" || e.Kind == "board.offline" || e.Kind == "board.deleted" {
			boards[s4t.BoardID(e.Object)] = true
		}
	}
	for _, f := range h.feeds {
		if f.board != "" && (events == nil || boards[f.board]) {
			select {
			case f.woken <- struct{}{}:
			default:
			}
		}
	}
}

// run takes lines off the queue until ctx ends.
func (h *feedHub) run(ctx context.Context) error {
	return h.api.queue.Serve(ctx, wire.TopicAPIFeeds, h.server, feedWorkers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		if method != wire.MethodFeedLines {
			return nil, s4t.Errorf(s4t.NotFound, method, "", "no such method")
		}
		var l wire.FeedLines
		if err := json.Unmarshal(body, &l); err != nil {
			return nil, s4t.Errorf(s4t.Invalid, method, "", "%w", err)
		}
		if err := h.take(ctx, l); err != nil {
			return nil, err
		}
		return []byte("{}"), nil
	})
}

// take gives lines to who follows.
func (h *feedHub) take(ctx context.Context, l wire.FeedLines) error {
	const op = "send lines"
	h.mu.Lock()
	f := h.feeds[l.Feed.ID]
	h.mu.Unlock()
	if f == nil || f.board != "" && f.board != l.Board {
		return s4t.Errorf(s4t.NotFound, op, "", "nobody follows them")
	}
	late := time.NewTimer(takeLines)
	defer late.Stop()
	select {
	case f.lines <- l:
		return nil
	case <-f.gone:
		return s4t.Errorf(s4t.NotFound, op, "", "nobody follows them any more")
	case <-late.C:
		return s4t.Errorf(s4t.Unavailable, op, "send them again", "who follows does not read").After(time.Second)
	case <-ctx.Done():
		return s4t.Errorf(s4t.Unavailable, op, "send them again", "the API is stopping")
	}
}

// lineOrder lets each line through once: a message may come twice.
type lineOrder struct{ last uint64 }

// fresh reports whether a line has not come before.
func (o *lineOrder) fresh(l s4t.LogLine) bool {
	if l.Seq != 0 && l.Seq <= o.last {
		return false
	}
	o.last = max(o.last, l.Seq)
	return true
}
