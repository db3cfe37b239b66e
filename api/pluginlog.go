package api

import (
	"context"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// pluginLogRoutes are logs of plugins that are followed.
func (a *API) pluginLogRoutes() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[s4t.LogLine](), true, "")
	register(a, guarded, "GET /v1/boards/{board}/plugins/{plugin}/logs/stream", "plugin.follow", "Follow the log of a plugin",
		"Server-sent events without a name: id (the seq of the line) and data (the line as JSON): those that the board keeps, and then those that come. Last-Event-ID resumes after that line. "+
			"An event named board says in `status` that the board is offline, or online again; the stream goes on then.",
		a.followLog, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "A stream that does not end", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schema}}}}
		})
}

// logAsk is the input of that route.
type logAsk struct {
	StreamQuery
	Board       string `path:"board" maxLength:"63" doc:"Name or id"`
	Plugin      string `path:"plugin" maxLength:"63" doc:"Name or id"`
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Resume after this line"`
}

func (a *API) followLog(ctx context.Context, in *logAsk) (*huma.StreamResponse, error) {
	since, err := sinceTime(in.Since)
	if err != nil {
		return nil, a.answer(ctx, "plugin.follow", err)
	}
	board, err := call[s4t.Board](ctx, a, wire.MethodBoardGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
	if err != nil {
		return nil, err
	}
	place, err := a.watch(ctx)
	if err != nil {
		return nil, a.answer(ctx, "plugin.follow", err)
	}
	s := &logStream{api: a, board: board, plugin: in.Plugin, since: since, secret: secretOf(ctx), feed: a.feeds.open(board.ID), gone: place.gone}
	s.order.last, _ = strconv.ParseUint(in.LastEventID, 10, 64) // anything else is none
	leave := func() {
		a.feeds.close(s.feed)
		a.watchers.leave(place)
	}
	if err := s.follow(ctx, false); err != nil {
		leave()
		return nil, a.answer(ctx, "plugin.follow", err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer leave()
		r, rw := humago.Unwrap(hctx)
		s.sse = beginSSE(rw)
		if err := s.run(context.WithValue(r.Context(), callerKey{}, callerOf(ctx))); err != nil {
			a.log.Debug("a log is not followed any more", "err", err)
		}
	}}, nil
}

// logStream writes the log of a plugin to one client.
type logStream struct {
	*sse
	api    *API
	board  s4t.Board
	plugin string
	since  time.Time // older lines are left out
	secret string
	feed   *lineFeed
	gone   <-chan struct{} // closed when it has to make room

	order lineOrder
	away  bool // as the client knows it
}

// follow has the board send lines for a while, or with end no more.
func (s *logStream) follow(ctx context.Context, end bool) error {
	return s.api.ask(ctx, wire.MethodFeedFollow, wire.FeedFollow{
		Caller: callerOf(ctx), Board: string(s.board.ID), Plugin: s.plugin, After: s.order.last, Feed: s.feed.Feed, End: end,
	}, nil)
}

// run sends lines until ctx ends, the client does not read, its token is revoked,
// board or plugin have gone, it has to make room, or the API stops.
func (s *logStream) run(ctx context.Context) error {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		s.follow(ctx, true) // where it is lost, the term ends it
	}()
	s.buf.WriteString(": a log of Stack4Things\n\n")
	again := time.NewTimer(wire.FeedTerm / 3)
	defer again.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if err := s.flush(); err != nil {
			return err
		}
		ask := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.stopping:
			return nil
		case <-s.gone:
			return nil
		case l := <-s.feed.lines:
			for _, line := range l.Lines {
				s.line(line)
			}
		case <-s.feed.woken:
			ask = true
		case <-again.C:
			ask = true
		case <-beat.C:
			caller, err := s.api.verify(ctx, s.secret)
			if s4t.KindOf(err) == s4t.Unauthenticated {
				return err
			}
			if err == nil {
				ctx = context.WithValue(ctx, callerKey{}, caller)
			}
			s.beat()
		}
		if !ask {
			continue
		}
		err := s.follow(ctx, false)
		switch s4t.KindOf(err) {
		case "":
			again.Reset(wire.FeedTerm / 3)
		case s4t.Offline:
			again.Reset(offlineWatch)
		case s4t.Unavailable, s4t.Timeout, s4t.TooMany:
			again.Reset(retryWatch)
			continue
		default:
			return err
		}
		s.tellBoard(err)
	}
}

// line appends a line that has not come before.
func (s *logStream) line(l s4t.LogLine) {
	if !s.order.fresh(l) || l.At.Before(s.since) {
		return
	}
	s.event(strconv.FormatUint(l.Seq, 10), "", l)
}

// tellBoard says how the board is, where the client does not know it yet.
func (s *logStream) tellBoard(err error) {
	if s.away == (err != nil) {
		return
	}
	s.away = err != nil
	if s.away {
		s.boardIs(s.board.Name, s4t.BoardOffline, err.Error())
	} else {
		s.boardIs(s.board.Name, s4t.BoardOnline, "")
	}
}
