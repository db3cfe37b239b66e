package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// EventReset is the kind of an event that only a stream has: not all events
// since the one before can be told, because they are not kept any more or
// because the cloud's database was restored. Its ID is that of the newest event,
// after which the stream goes on. Who keeps state of events reads it anew.
const EventReset = "reset"

// EventsOptions of a stream of events.
type EventsOptions struct {
	After int64 // resume after this event; 0: from now on
	Once  bool  // end when the connection ends, rather than resume
}

// EventStream is an open stream of events. One goroutine reads it; Close may
// be called from any.
type EventStream struct {
	c      *Client
	ctx    context.Context // of the stream, as net/http wants it for a body
	cancel context.CancelFunc
	last   int64 // up to here all that happened is known; -1: not said yet
	once   bool
	body   io.ReadCloser      // of the present connection
	hangUp context.CancelFunc // ends the present connection
	err    error
}

// maxEvent bounds one line of the stream, in bytes.
const maxEvent = s4t.MaxMessage

// silenceTimeout ends a connection that says nothing: the API sends a heartbeat
// every 15 s.
const silenceTimeout = 40 * time.Second

// Events opens the stream and returns when it has begun: what happens after
// that is not missed. Where events cannot be told all the same, after a long
// absence or a restored backup, an event of the kind [EventReset] says so.
func (c *Client) Events(ctx context.Context, o EventsOptions) (*EventStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &EventStream{c: c, ctx: ctx, cancel: cancel, last: o.After, once: o.Once}
	if o.After <= 0 {
		s.last = -1
	}
	if err := s.connect(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// connect opens a connection. The context of a request is also that of its
// body, so a watchdog ends the wait for the head of the answer.
func (s *EventStream) connect() error {
	h := http.Header{"Accept": {"text/event-stream"}}
	if s.last >= 0 {
		h.Set("Last-Event-Id", strconv.FormatInt(s.last, 10))
	}
	ctx, hangUp := context.WithCancel(s.ctx)
	dog := time.AfterFunc(s.c.timeout, hangUp)
	res, err := s.c.open(ctx, "watch events", "GET", path("events"), nil, h)
	if !dog.Stop() && s.ctx.Err() == nil {
		err = s4t.Errorf(s4t.Timeout, "watch events", "try again", "no answer of %s in time", s.c.URL())
	}
	if err != nil {
		hangUp()
		return err
	}
	if s.last < 0 { // where to resume, should the connection end before the first event
		if n, err := strconv.ParseInt(res.Header.Get("X-Event-Id"), 10, 64); err == nil {
			s.last = n
		}
	}
	s.body, s.hangUp = res.Body, hangUp
	return nil
}

// All yields events until the stream ends; see Err for why. Unless Once is
// set it resumes after a lost connection, where it was.
func (s *EventStream) All() iter.Seq[s4t.Event] {
	return func(yield func(s4t.Event) bool) {
		for {
			more, err := s.read(yield)
			s.body.Close()
			s.hangUp()
			if !more || s.once || s.ctx.Err() != nil {
				s.err = err
				return
			}
			for {
				if !pause(s.ctx, time.Second) {
					return
				}
				err := s.connect()
				if err == nil {
					break
				}
				if k := s4t.KindOf(err); k != s4t.Unavailable && k != s4t.Timeout && k != s4t.TooMany {
					s.err = err
					return
				}
			}
		}
	}
}

// Err returns why All ended: nil after Close, the end of the context or of
// the loop over All.
func (s *EventStream) Err() error { return s.err }

// Close ends the stream.
func (s *EventStream) Close() { s.cancel() }

// read parses one connection (the event stream format of the HTML standard,
// section 9.2.6) until it ends. It returns false when yield wants no more.
func (s *EventStream) read(yield func(s4t.Event) bool) (bool, error) {
	dog := time.AfterFunc(silenceTimeout, s.hangUp)
	defer dog.Stop()
	lines := bufio.NewScanner(s.body)
	lines.Buffer(make([]byte, 4096), maxEvent)
	var data []byte
	var id int64
	for lines.Scan() {
		dog.Reset(silenceTimeout)
		line := lines.Bytes()
		if len(line) > 0 {
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "id":
				if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && n > 0 {
					id = n
				}
			case "data":
				if len(data) > maxEvent {
					return true, errors.New("an event is too long")
				}
				if len(data) > 0 {
					data = append(data, '\n')
				}
				data = append(data, value...)
			}
			continue
		}
		if len(data) == 0 {
			s.last = max(s.last, id) // a heartbeat: others' events moved on
			continue
		}
		var e s4t.Event
		err := json.Unmarshal(data, &e)
		data = data[:0]
		if err != nil {
			return true, s4t.Errorf(s4t.Internal, "watch events", "", "an event is not understood: %w", err)
		}
		if s.last = max(s.last, e.ID); e.Kind == EventReset {
			s.last, id = e.ID, e.ID // it may be lower: the database is an older one
		}
		if !yield(e) {
			return false, nil
		}
	}
	if s.ctx.Err() != nil {
		return true, nil
	}
	return true, lines.Err()
}
