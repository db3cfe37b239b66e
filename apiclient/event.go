package apiclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strconv"

	"github.com/stack4things/s4t"
)

// EventReset is the kind of an event that only a stream has: not all events
// since the one before can be told, because they are not kept any more or
// because the cloud's database was restored. Its ID is that of the newest event,
// after which the stream goes on. Who keeps state of events reads it anew.
const EventReset = "reset"

// EventStep is the kind of what tells of a step of an operation as it is taken, with the
// operation in its data. It has no id, is not kept, and comes to who asked for it by name.
const EventStep = "operation.step"

// EventsOptions of a stream of events.
type EventsOptions struct {
	After int64 // resume after this event; 0: from now on
	Once  bool  // end when the connection ends, rather than resume
}

// EventStream is an open stream of events. One goroutine reads it; Close may
// be called from any.
type EventStream struct {
	stream
	last int64 // up to here all that happened is known; -1: not said yet
}

// Events opens the stream and returns when it has begun: what happens after
// that is not missed. Where events cannot be told all the same, after a long
// absence or a restored backup, an event of the kind [EventReset] says so.
func (c *Client) Events(ctx context.Context, o EventsOptions) (*EventStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &EventStream{last: o.After}
	if o.After <= 0 {
		s.last = -1
	}
	s.stream = stream{c: c, what: "watch events", ctx: ctx, cancel: cancel, once: o.Once, request: s.ask, began: s.began}
	if err := s.connect(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// ask is the request for what is not known yet.
func (s *EventStream) ask() (string, http.Header) {
	h := http.Header{}
	if s.last >= 0 {
		h.Set("Last-Event-Id", strconv.FormatInt(s.last, 10))
	}
	return path("events"), h
}

// began notes where to resume, should the connection end before the first event.
func (s *EventStream) began(h http.Header) {
	if s.last >= 0 {
		return
	}
	if n, err := strconv.ParseInt(h.Get("X-Event-Id"), 10, 64); err == nil {
		s.last = n
	}
}

// All yields events until the stream ends; see Err for why. Unless Once is
// set it resumes after a lost connection, where it was.
func (s *EventStream) All() iter.Seq[s4t.Event] {
	return func(yield func(s4t.Event) bool) {
		s.messages(func(id, _ string, data []byte) (bool, error) {
			n, err := strconv.ParseInt(id, 10, 64)
			if len(data) == 0 { // a heartbeat: others' events moved on
				if err == nil {
					s.last = max(s.last, n)
				}
				return true, nil
			}
			var e s4t.Event
			if err := json.Unmarshal(data, &e); err != nil {
				return true, s4t.Errorf(s4t.Internal, "watch events", "", "an event is not understood: %w", err)
			}
			if s.last = max(s.last, e.ID); e.Kind == EventReset {
				s.last = e.ID // it may be lower: the database is an older one
			}
			return yield(e), nil
		}, func(error) bool { return true })
	}
}
