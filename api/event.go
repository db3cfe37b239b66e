package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// heartbeat is how often a silent stream says something, so that neither
	// end nor a proxy takes it for dead. At the same time the token is checked
	// again, and events that the queue lost are fetched.
	heartbeat = 15 * time.Second
	// backlog is how many events may wait for one client. One that is slower
	// is cut, and resumes where it was.
	backlog = 256
	// maxWatchers bounds the open streams of one process.
	maxWatchers = 1024
	// writeTimeout cuts a client that does not read.
	writeTimeout = 10 * time.Second
	// eventPage is how many events event.list answers with at most.
	eventPage = 1000
)

// hub hands each event to every watcher that may see it.
type hub struct {
	mu       sync.Mutex // guards the fields below
	closed   bool
	watchers map[*watcher]struct{}
}

// watcher is one open stream of events.
type watcher struct {
	caller wire.Caller
	events chan s4t.Event // closed when the watcher is cut
}

func newHub() *hub { return &hub{watchers: map[*watcher]struct{}{}} }

// handle takes a fan-out of the conductor; it is a [queue.Handler].
func (h *hub) handle(_ context.Context, _ string, body []byte) ([]byte, error) {
	var e s4t.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "take an event", "", "%w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if !maySee(w.caller, e) {
			continue
		}
		select {
		case w.events <- e:
		default: // too slow: it is cut, and resumes by itself
			delete(h.watchers, w)
			close(w.events)
		}
	}
	return nil, nil
}

// maySee is the rule of event.list for what does not go through it.
func maySee(c wire.Caller, e s4t.Event) bool {
	return c.Role.Covers(s4t.RoleAdmin) || e.Project != "" && c.Project == e.Project
}

func (h *hub) add(c wire.Caller) (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, s4t.Errorf(s4t.Unavailable, "watch events", "try again", "the API is stopping")
	}
	if len(h.watchers) >= maxWatchers {
		return nil, s4t.Errorf(s4t.TooMany, "watch events", "try again later", "%d watch already", maxWatchers)
	}
	w := &watcher{caller: c, events: make(chan s4t.Event, backlog)}
	h.watchers[w] = struct{}{}
	return w, nil
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.watchers[w]; ok {
		delete(h.watchers, w)
		close(w.events)
	}
}

// close cuts every watcher, so that a server can stop.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		delete(h.watchers, w)
		close(w.events)
	}
}

// eventAsk is the input of GET /v1/events.
type eventAsk struct {
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Resume after this event"`
	After       string `query:"after" maxLength:"20" doc:"The same, for clients that cannot set the header; 0: from the oldest that is kept"`

	secret string
}

// Resolve keeps the token, which is checked again while the stream is open.
func (in *eventAsk) Resolve(ctx huma.Context) []error {
	in.secret = bearer(ctx)
	return nil
}

// eventRoutes are the stream of events.
func (a *API) eventRoutes() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[s4t.Event](), true, "")
	register(a, guarded, "GET /v1/events", "event.watch", "Watch events",
		"Server-sent events: id, event (the kind) and data (the event as JSON). Resumes after Last-Event-ID; a client that does not read is cut. An event may come twice.",
		a.watchEvents, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {
				Description: "A stream that does not end",
				Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
			}}
		})
}

func (a *API) watchEvents(ctx context.Context, in *eventAsk) (*huma.StreamResponse, error) {
	after := int64(-1) // from now on
	for _, text := range []string{in.After, in.LastEventID} {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, a.answer("event.watch", s4t.Errorf(s4t.Invalid, "watch events", "give the id of an event", "%q is not one", text))
		}
		after = n
	}
	w, err := a.hub.add(callerOf(ctx))
	if err != nil {
		return nil, a.answer("event.watch", err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer a.hub.remove(w)
		r, rw := humago.Unwrap(hctx)
		h := rw.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // nginx, in front
		rw.WriteHeader(http.StatusOK)
		s := &eventStream{api: a, watcher: w, secret: in.secret, w: rw, rc: http.NewResponseController(rw), last: after, floor: after, sent: map[int64]bool{}}
		if err := s.run(r.Context()); err != nil {
			a.log.Debug("a stream of events ended", "err", err)
		}
	}}, nil
}

// eventStream writes events to one client. Events may be fanned out in another
// order than their ids, and the queue may lose some: what came after floor is
// fetched at each heartbeat, and sent where it was not.
type eventStream struct {
	api     *API
	watcher *watcher
	secret  string
	w       io.Writer
	rc      *http.ResponseController

	last  int64          // highest id sent; -1: none, and no start was given
	floor int64          // up to here everything was sent; trails last by a heartbeat
	sent  map[int64]bool // ids above floor
}

func (s *eventStream) run(ctx context.Context) error {
	if err := s.write(": events of Stack4Things\n\n"); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-s.watcher.events:
			if !ok {
				return nil // cut: too slow, or the API stops
			}
			if err := s.send(e); err != nil {
				return err
			}
		case <-beat.C:
			if _, err := s.api.verify(ctx, s.secret); s4t.KindOf(err) == s4t.Unauthenticated {
				return err
			}
			next := s.last
			if err := s.catchUp(ctx); err != nil {
				return err
			}
			s.floor = next
			for id := range s.sent {
				if id <= s.floor {
					delete(s.sent, id)
				}
			}
			if err := s.write(":\n\n"); err != nil {
				return err
			}
		}
	}
}

// catchUp sends what was recorded after floor and not sent yet. That the
// conductor is away now is no reason to end the stream.
func (s *eventStream) catchUp(ctx context.Context) error {
	after := s.floor
	for after >= 0 {
		var page []s4t.Event
		err := s.api.queue.Call(ctx, wire.TopicConductor, wire.MethodEventList, wire.EventList{Caller: s.watcher.caller, After: after}, &page)
		if err != nil {
			return nil
		}
		for _, e := range page {
			if err := s.send(e); err != nil {
				return err
			}
			after = max(after, e.ID)
		}
		if len(page) < eventPage {
			return nil
		}
	}
	return nil
}

func (s *eventStream) send(e s4t.Event) error {
	if s.sent[e.ID] || e.ID <= s.floor {
		return nil
	}
	if s.floor < 0 {
		s.floor = e.ID - 1
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	s.sent[e.ID] = true
	s.last = max(s.last, e.ID)
	return s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, b))
}

func (s *eventStream) write(text string) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes, also when nothing waits to
	// be written.
	return s.rc.SetWriteDeadline(time.Time{})
}
