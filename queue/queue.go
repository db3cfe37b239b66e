package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue/internal/message"
)

const (
	// DefaultTimeout is the deadline of a Call whose context has none.
	DefaultTimeout = 10 * time.Second
	// Depth is how many messages may wait for one server.
	Depth = 1024
	// MaxReply bounds a reply, in bytes: lists are longer than requests, which
	// [s4t.MaxMessage] bounds. A broker takes 16 MiB with everything around it.
	MaxReply = message.MaxReply
)

// Handler answers one message; a cast it may see more than once. Its context ends
// when the caller's deadline has passed (or before, when the caller gave up), or
// when Serve is to end. The error crosses as a [wire.Error]; for a Cast and a
// Fanout both results are dropped (an internal error is logged). body must not be
// changed.
type Handler func(ctx context.Context, method string, body []byte) ([]byte, error)

// Mux is a table of methods. Serve it with its method Serve:
//
//	mux := queue.Mux{wire.MethodBoardGet: queue.Handle(c.boardGet)}
//	err := q.Serve(ctx, wire.TopicConductor, "", 64, mux.Serve)
type Mux map[string]Handler

// Serve is the [Handler] of the table. An unknown method is NotFound.
func (m Mux) Serve(ctx context.Context, method string, body []byte) ([]byte, error) {
	h, ok := m[method]
	if !ok {
		return nil, s4t.Errorf(s4t.NotFound, "call "+method, "bring both sides to the same version", "nobody here knows this method")
	}
	return h(ctx, method, body)
}

// Raw is a reply that crosses as it says itself: for long runs of bytes, which JSON makes
// a third longer, and ten times slower. Other replies and all requests cross as JSON.
type Raw interface {
	AppendRaw(to []byte) []byte
	// ParseRaw is the reverse. It may keep raw, which nobody changes.
	ParseRaw(raw []byte) error
}

// Handle makes a [Handler] of a function with types. A body that does not
// decode is Invalid; unknown fields are ignored, so that versions may differ.
func Handle[Req, Reply any](fn func(context.Context, Req) (Reply, error)) Handler {
	return func(ctx context.Context, method string, body []byte) ([]byte, error) {
		var req Req
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, s4t.Errorf(s4t.Invalid, "call "+method, "", "the request is not understood: %w", err)
		}
		reply, err := fn(ctx, req)
		if err != nil {
			return nil, err
		}
		if raw, ok := any(&reply).(Raw); ok {
			return raw.AppendRaw(nil), nil
		}
		return json.Marshal(reply)
	}
}
