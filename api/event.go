package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

const (
	// heartbeat is how often a stream says how far it is, so that neither end
	// nor a proxy takes a silent one for dead. At the same time the token is
	// checked again.
	heartbeat = 15 * time.Second
	// writeTimeout cuts a client that does not read; it resumes where it was.
	writeTimeout = 10 * time.Second
)

// eventAsk is the input of GET /v1/events.
type eventAsk struct {
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Resume after this event"`
	After       string `query:"after" maxLength:"20" doc:"The same, for clients that cannot set the header; 0: from the oldest that is kept"`
	Kinds       string `query:"kinds" maxLength:"1024" example:"board.*,bridge.created,operation.step" doc:"Only these kinds, * within them; operation.step, each step of each operation as it is taken, only where it is named. All that are kept by default"`
	Board       string `query:"board" maxLength:"63" doc:"With limit: only events that concern the board of this name"`
	Limit       int    `query:"limit" minimum:"1" maximum:"500" doc:"Answer with an array of at most so many events after that one, as of now, instead of a stream; from the oldest by default"`

	page  PageQuery // for the link of an array
	kinds kindFilter
}

// Resolve keeps the URL, for the link of an array.
func (in *eventAsk) Resolve(ctx huma.Context) []error { return in.page.Resolve(ctx) }

// eventRoutes are the stream of events.
func (a *API) eventRoutes() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[s4t.Event](), true, "")
	register(a, guarded, "GET /v1/events", "event.watch", "Watch events",
		"Server-sent events: id, event (the kind) and data (the event as JSON). Resumes after Last-Event-ID, and each event comes once; a client that does not read is cut. The header X-Event-Id says after which event the stream begins. "+
			"Where events after that id are not kept any more, or the id is above the newest (the database was restored), an event of the kind reset comes, with the id of the newest: "+
			"read anew what you know; the stream goes on after it. With limit: an array, once.",
		a.watchEvents, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {
				Description: "A stream that does not end, or, with limit, an array with the headers of a list",
				Content: map[string]*huma.MediaType{
					"text/event-stream": {Schema: schema},
					"application/json":  {Schema: &huma.Schema{Type: huma.TypeArray, Items: schema}},
				},
			}}
		})
}

func (a *API) watchEvents(ctx context.Context, in *eventAsk) (*huma.StreamResponse, error) {
	var err error
	if in.kinds, err = parseKinds("watch events", in.Kinds); err != nil {
		return nil, a.answer(ctx, "event.watch", err)
	}
	after := int64(-1) // from now on
	for _, text := range []string{in.After, in.LastEventID} {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, a.answer(ctx, "event.watch", s4t.Errorf(s4t.Invalid, "watch events", "give the id of an event", "%q is not one", text))
		}
		after = n
	}
	if in.Limit > 0 {
		return a.listEvents(ctx, in, max(after, 0))
	}
	if a.stopped() {
		return nil, a.answer(ctx, "event.watch", s4t.Errorf(s4t.Unavailable, "watch events", "try again", "the API is stopping"))
	}
	if after < 0 {
		var err error
		if after, err = a.newestEvent(ctx); err != nil {
			return nil, a.answer(ctx, "event.watch", err)
		}
	}
	place, err := a.watch(ctx)
	if err != nil {
		return nil, a.answer(ctx, "event.watch", err)
	}
	caller := callerOf(ctx)
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer a.watchers.leave(place)
		r, rw := humago.Unwrap(hctx)
		rw.Header().Set("X-Event-Id", strconv.FormatInt(after, 10))
		s := &eventStream{sse: beginSSE(rw), api: a, caller: caller, secret: secretOf(ctx), last: after, kinds: in.kinds, gone: place.gone}
		if in.kinds.steps() {
			steps, leave := a.steps.enter()
			defer leave()
			s.steps = steps
		}
		if err := s.run(context.WithValue(r.Context(), callerKey{}, caller)); err != nil {
			a.log.Debug("a stream of events ended", "err", err)
		}
	}}, nil
}

// newestEvent is the id that a stream from now on begins after.
func (a *API) newestEvent(ctx context.Context) (int64, error) {
	if id := a.feed.last(); id >= 0 {
		return id, nil
	}
	if err := a.feed.read(ctx); err != nil {
		return 0, err
	}
	return a.feed.last(), nil
}

// listEvents answers with the events that there are.
func (a *API) listEvents(ctx context.Context, in *eventAsk, after int64) (*huma.StreamResponse, error) {
	l, err := call[wire.List[s4t.Event]](ctx, a, wire.MethodEventList, wire.EventList{Caller: callerOf(ctx), After: after, Limit: in.Limit, Board: in.Board})
	if err != nil {
		return nil, err
	}
	next := ""
	if n := len(l.Items); n >= in.Limit && l.Items[n-1].ID < l.EventID {
		next = strconv.FormatInt(l.Items[n-1].ID, 10)
	}
	if l.Items = slices.DeleteFunc(l.Items, func(e s4t.Event) bool { return !in.kinds.has(e.Kind) }); l.Items == nil {
		l.Items = []s4t.Event{}
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/json")
		hctx.SetHeader("X-Event-Id", strconv.FormatInt(l.EventID, 10))
		if link := in.page.link(next); link != "" {
			hctx.SetHeader("Link", link)
		}
		json.NewEncoder(hctx.BodyWriter()).Encode(l.Items)
	}}, nil
}

// eventStream writes events to one client, in the order of their ids.
type eventStream struct {
	*sse
	api    *API
	caller wire.Caller
	secret string
	last   int64 // up to here everything was sent that the caller may see
	kinds  kindFilter
	steps  <-chan *told    // of operations; nil: not asked for
	gone   <-chan struct{} // closed when it has to make room
}

// run sends events until ctx ends, the client does not read, its token is
// revoked, it has to make room for another project's, or the API stops.
func (s *eventStream) run(ctx context.Context) error {
	if err := s.write([]byte(": events of Stack4Things\n\n")); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		more, err := s.advance(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.stopping:
			return nil
		case <-s.gone:
			return nil
		case t := <-s.steps:
			if s.caller.Sees(t.project) {
				if err := s.write([]byte(t.text)); err != nil {
					return err
				}
			}
		case <-more:
		case <-beat.C:
			if _, err := s.api.verify(ctx, s.secret); s4t.KindOf(err) == s4t.Unauthenticated {
				return err
			}
			// An id without data is no event, but where to resume: others'
			// events may have moved it far from the last one that was sent.
			if err := s.write([]byte(fmt.Sprintf(":\nid: %d\n\n", s.last))); err != nil {
				return err
			}
		}
	}
}

// atOnce is closed: there is more to send.
var atOnce = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// advance sends a part of what is there, out of the ring, or out of event.list
// where the ring does not tell, and returns what to wait for.
func (s *eventStream) advance(ctx context.Context) (<-chan struct{}, error) {
	l, more, ok := s.api.feed.after(s.last)
	if !ok {
		return s.catchUp(ctx, more)
	}
	var text strings.Builder
	for _, t := range l {
		if s.caller.Sees(t.project) && s.kinds.has(t.kind) {
			text.WriteString(t.text)
		}
		s.last = t.id
	}
	if text.Len() > 0 {
		if err := s.write([]byte(text.String())); err != nil {
			return nil, err
		}
	}
	if len(l) == eventBatch {
		more = atOnce
	}
	return more, nil
}

// catchUp sends a page of event.list. That the conductor is away now is no
// reason to end the stream.
func (s *eventStream) catchUp(ctx context.Context, more <-chan struct{}) (<-chan struct{}, error) {
	var l wire.List[s4t.Event]
	err := s.api.ask(ctx, wire.MethodEventList, wire.EventList{Caller: s.caller, After: s.last}, &l)
	switch {
	case s4t.KindOf(err) == s4t.NotFound, err == nil && len(l.Items) == 0 && l.EventID < s.last:
		return s.reset(ctx, more)
	case err != nil:
		return more, nil // until then, or the next heartbeat
	}
	var text strings.Builder
	was := s.last
	for _, e := range l.Items {
		if s.kinds.has(e.Kind) {
			text.WriteString(eventText(e))
		}
		s.last = e.ID
	}
	if text.Len() > 0 {
		if err := s.write([]byte(text.String())); err != nil {
			return nil, err
		}
	}
	if len(l.Items) < wire.MaxEvents { // these were all that the caller may see
		s.last = max(s.last, l.EventID)
	}
	if s.last > was {
		more = atOnce // there may be more by now, here or in the ring
	}
	return more, nil
}

// reset tells the client that it may have missed events, and goes on after
// the newest.
func (s *eventStream) reset(ctx context.Context, more <-chan struct{}) (<-chan struct{}, error) {
	var l wire.List[s4t.Event]
	if s.api.ask(ctx, wire.MethodEventList, wire.EventList{Caller: s.caller, After: newestOnly, Limit: 1}, &l) != nil {
		return more, nil
	}
	was := s.last
	s.last = l.EventID
	e := s4t.Event{ID: s.last, At: time.Now().UTC(), Kind: apiclient.EventReset, Detail: fmt.Sprintf("not all events after %d can be told; this stream goes on after %d", was, s.last)}
	return atOnce, s.write([]byte(eventText(e)))
}
