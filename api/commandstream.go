package api

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// lastLines is how long the last lines of a run that has ended may take.
const lastLines = 5 * time.Second

// streamRun runs a command and answers with what it says, state by state.
func (a *API) streamRun(ctx context.Context, req wire.CommandRun) (*huma.StreamResponse, error) {
	place, err := a.watch(ctx)
	if err != nil {
		return nil, a.answer(ctx, "command.run", err)
	}
	feed := a.feeds.open("")
	req.Feed, req.Async = &feed.Feed, true
	op, err := call[s4t.Operation](ctx, a, wire.MethodCommandRun, req)
	if err != nil {
		a.feeds.close(feed)
		a.watchers.leave(place)
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer a.watchers.leave(place)
		defer a.feeds.close(feed)
		r, rw := humago.Unwrap(hctx)
		rw.Header().Set("Location", "/v1/operations/"+string(op.ID))
		rw.Header().Set(apiclient.OperationHeader, string(op.ID))
		s := &runStream{sse: beginSSE(rw), api: a, caller: req.Caller, secret: secretOf(ctx), feed: feed, op: op, gone: place.gone}
		if err := s.run(context.WithValue(r.Context(), callerKey{}, req.Caller)); err != nil {
			a.log.Debug("a stream of a command ended", "err", err)
		}
	}}, nil
}

// runStream writes what a run says to one client.
type runStream struct {
	*sse
	api    *API
	caller wire.Caller
	secret string
	feed   *lineFeed
	op     s4t.Operation   // as it was read last
	gone   <-chan struct{} // closed when it has to make room

	told  s4t.OperationStatus
	order lineOrder
	all   bool // the board has sent its last line
}

// run sends until the run has ended and all is sent, or ctx ends, the client does
// not read, its token is revoked, it has to make room, or the API stops.
func (s *runStream) run(ctx context.Context) error {
	waiter, leave := s.api.waiters.add(s.op.ID)
	defer leave()
	look := time.NewTicker(reread)
	defer look.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	late := time.NewTimer(0) // since the run has ended
	late.Stop()
	s.read(ctx) // what moved before it was waited for
	for {
		ended := s.op.Status.Ended()
		if s.told != s.op.Status && !ended {
			s.told = s.op.Status
			s.event("", apiclient.EventState, s.op)
		}
		if ended && (s.all || !saidSomething(s.op)) {
			s.event("", apiclient.EventResult, s.op)
			return s.flush()
		}
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.stopping:
			return nil
		case <-s.gone:
			return nil
		case l := <-s.feed.lines:
			s.lines(l)
		case <-waiter.news:
			s.read(ctx)
		case <-look.C:
			s.read(ctx)
		case <-late.C:
			s.all = true
		case <-beat.C:
			caller, err := s.api.verify(ctx, s.secret)
			if s4t.KindOf(err) == s4t.Unauthenticated {
				return err
			}
			if err == nil {
				s.caller = caller
				ctx = context.WithValue(ctx, callerKey{}, caller)
			}
			s.beat()
		}
		if s.op.Status.Ended() && !ended {
			look.Stop()
			late.Reset(lastLines)
		}
	}
}

// saidSomething reports whether a run that has ended may have lines: it began.
func saidSomething(op s4t.Operation) bool {
	return slices.ContainsFunc(op.Steps, func(s s4t.Step) bool { return s.Name == string(s4t.OperationStarted) })
}

// read asks how the operation is, unless it has ended. Where that is not to be had
// now it is asked again later.
func (s *runStream) read(ctx context.Context) {
	if s.op.Status.Ended() {
		return
	}
	var op s4t.Operation
	if err := s.api.ask(ctx, wire.MethodOperationGet, wire.OperationGet{Caller: s.caller, ID: s.op.ID}, &op); err == nil {
		s.op = op
	}
}

// lines takes what the board sent.
func (s *runStream) lines(l wire.FeedLines) {
	for _, line := range l.Lines {
		if !s.order.fresh(line) {
			continue
		}
		if text := []byte(line.Text); json.Valid(text) {
			s.event("", apiclient.EventOutput, json.RawMessage(text))
		} else {
			s.event("", apiclient.EventOutput, line.Text)
		}
	}
	s.all = s.all || l.End
}
