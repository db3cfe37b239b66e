package api

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// pinBatch is how many samples one write to a client has at most.
const pinBatch = 1024

// StreamQuery is what both streams of samples take. It is exported for huma, as
// [PageQuery] is.
type StreamQuery struct {
	Since string `query:"since" maxLength:"64" example:"1h" doc:"Begin with what the board kept since then: a duration back from now, or a time (RFC 3339)"`
}

// pinStreamRoutes are the streams of samples, and the pins of all boards.
func (a *API) pinStreamRoutes() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[s4t.Sample](), true, "")
	stream := func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {
			Description: "A stream that does not end",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
		}}
	}
	const how = "Server-sent events without a name: id (the seq of the sample) and data (the sample as JSON). The newest sample of each pin comes first. " +
		"A client that does not read as fast as they come gets the newest of each pin, and `merged` says how many it stands for. " +
		"An event named board says in `status` that the board is offline, or online again; the stream goes on then."
	register(a, guarded, "GET /v1/boards/{board}/pins/stream", "pin.watch-many", "Watch the pins of a board", how,
		func(ctx context.Context, in *struct {
			StreamQuery
			Board string   `path:"board" maxLength:"63" doc:"Name or id"`
			Pin   []string `query:"pin,explode" maxItems:"256" doc:"A name or a label; repeated: only these; all by default"`
		}) (*huma.StreamResponse, error) {
			return a.watchPins(ctx, in.Board, in.Pin, in.StreamQuery, "")
		}, stream)
	register(a, guarded, "GET /v1/boards/{board}/pins/{pin}/stream", "pin.watch", "Watch a pin", how+" Last-Event-ID resumes after that sample, as far as the board keeps them.",
		func(ctx context.Context, in *struct {
			StreamQuery
			PinRef
			LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Resume after this sample"`
		}) (*huma.StreamResponse, error) {
			return a.watchPins(ctx, in.Board, []string{in.Pin}, in.StreamQuery, in.LastEventID)
		}, stream)
}

// watchPins answers with a stream of samples.
func (a *API) watchPins(ctx context.Context, ref string, pins []string, in StreamQuery, last string) (*huma.StreamResponse, error) {
	past := wire.PinAsk{Do: wire.PinHistory, Limit: wire.MaxSamples}
	var err error
	if past.Since, err = sinceTime(in.Since); err != nil {
		return nil, a.answer(ctx, "pin.watch", err)
	}
	board, err := call[s4t.Board](ctx, a, wire.MethodBoardGet, wire.RefRequest{Caller: callerOf(ctx), Ref: ref})
	if err != nil {
		return nil, err
	}
	if err := a.seesPins(ctx, board); err != nil {
		return nil, a.answer(ctx, "pin.watch", err)
	}
	names := pins // of the samples
	if len(pins) > 0 || !past.Since.IsZero() {
		got, err := a.askPins(ctx, ref, wire.PinAsk{Do: wire.PinList, Pins: pins})
		if err != nil {
			return nil, err
		}
		names = nil
		for _, p := range got.Pins {
			names = append(names, p.Name)
		}
		past.Pins = names
		if len(pins) == 0 {
			names = nil // also those that come
		} else if len(names) == 0 {
			_, err := a.onePin(ctx, PinRef{Board: ref, Pin: pins[0]}, nil)
			return nil, err
		}
	}
	if seq, err := strconv.ParseUint(last, 10, 64); err == nil && len(names) == 1 {
		past.After = map[string]uint64{names[0]: seq}
	}
	place, err := a.watch(ctx)
	if err != nil {
		return nil, a.answer(ctx, "pin.watch", err)
	}
	client := newPinClient(callerOf(ctx), names)
	if err := a.pins.join(board, client); err != nil {
		a.watchers.leave(place)
		return nil, a.answer(ctx, "pin.watch", err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer a.watchers.leave(place)
		defer client.leave()
		r, rw := humago.Unwrap(hctx)
		s := &pinStream{sse: beginSSE(rw), api: a, client: client, board: board, ref: ref, past: past, secret: secretOf(ctx), gone: place.gone}
		if err := s.run(context.WithValue(r.Context(), callerKey{}, client.caller)); err != nil {
			a.log.Debug("a stream of samples ended", "err", err)
		}
	}}, nil
}

// seesPins asks whether the caller may see the pins of a board that is not its project's: whom a lease
// gives something else must not get what others watch here.
func (a *API) seesPins(ctx context.Context, b s4t.Board) error {
	caller := callerOf(ctx)
	if b.Project == caller.Project {
		return nil
	}
	return a.ask(ctx, wire.MethodPinAll, wire.PinAll{Caller: caller, Boards: []string{string(b.ID)}}, nil)
}

// pinStream writes samples to one client, those of a pin in order.
type pinStream struct {
	*sse
	api    *API
	client *pinClient
	board  s4t.Board
	ref    string      // what the client calls it
	past   wire.PinAsk // what the client wants of the history; neither Since nor After: nothing
	secret string
	gone   <-chan struct{} // closed when it has to make room

	shown map[string]s4t.Sample // the last of the history, by pin
	owed  bool                  // the history: the board was away when it was asked
	away  error                 // as the client knows it
}

// run sends samples until ctx ends, the client does not read, its token is
// revoked, it sees the board no more, it has to make room for another
// project's, or the API stops.
func (s *pinStream) run(ctx context.Context) error {
	s.buf.WriteString(": samples of pins of Stack4Things\n\n")
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.history(ctx); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.stopping:
			return nil
		case <-s.gone:
			return nil
		case <-s.client.queue.Ready():
			if s.owed { // the board is back, and this comes first
				if err := s.history(ctx); err != nil {
					return err
				}
				s.owed = false
			}
			for _, w := range s.client.queue.Take(pinBatch) {
				if last, ok := s.shown[w.Pin]; !ok || w.Newer(last) {
					w.write(&s.buf)
				}
			}
		case <-s.client.news:
			away, err := s.client.state()
			if err != nil {
				return err
			}
			s.tellBoard(away)
		case <-beat.C:
			caller, err := s.api.verify(ctx, s.secret)
			if s4t.KindOf(err) == s4t.Unauthenticated {
				return err
			}
			if err == nil && !s.client.confirm(caller) {
				return s4t.Errorf(s4t.NotFound, "watch pins", "", "the caller sees the board no more")
			}
			if err == nil {
				if err := s.api.seesPins(context.WithValue(ctx, callerKey{}, caller), s.board); s4t.KindOf(err) == s4t.NotFound || s4t.KindOf(err) == s4t.Forbidden {
					return err // its lease is over
				}
			}
			s.beat()
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// tellBoard says how the board is, where the client does not know it yet.
func (s *pinStream) tellBoard(away error) {
	if s4t.KindOf(s.away) == s4t.KindOf(away) {
		return
	}
	s.away = away
	status, detail := s4t.BoardOnline, ""
	if away != nil {
		detail = away.Error()
		if s4t.KindOf(away) == s4t.Offline {
			status = s4t.BoardOffline
		}
	}
	s.boardIs(s.board.Name, status, detail)
}

// history sends what the client wants of it. Samples that come meanwhile wait in
// its queue.
func (s *pinStream) history(ctx context.Context) error {
	if s.past.Since.IsZero() && s.past.After == nil {
		return nil
	}
	if s.shown == nil {
		s.shown = map[string]s4t.Sample{}
	}
	for names := range slices.Chunk(s.past.Pins, s4t.MaxPinWatch) {
		if err := s.historyOf(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// historyOf sends what the board kept of some pins.
func (s *pinStream) historyOf(ctx context.Context, names []string) error {
	ask := s.past
	ask.Pins = names
	for {
		var got wire.PinAnswer
		err := s.api.ask(ctx, wire.MethodPinAsk, wire.PinRequest{Caller: callerOf(ctx), Board: s.ref, Ask: ask}, &got)
		if err != nil { // the board is away: it is told, and the stream goes on
			s.owed = true
			s.tellBoard(err)
			return s.flush()
		}
		if ask.After == nil {
			ask.After = map[string]uint64{}
		}
		for _, sample := range got.Samples {
			s.buf.Write(sampleText(sample))
			s.shown[sample.Pin], ask.After[sample.Pin] = sample, sample.Seq
		}
		if err := s.flush(); err != nil || !got.More || len(got.Samples) == 0 {
			return err
		}
	}
}
