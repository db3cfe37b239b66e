package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// DefaultTimeout is the deadline of a Call whose context has none.
	DefaultTimeout = 10 * time.Second
	// Depth is how many messages may wait for one server.
	Depth = 1024
	// MaxReply bounds a reply, in bytes: lists are longer than requests, which
	// [s4t.MaxMessage] bounds. A broker takes 16 MiB with everything around it.
	MaxReply = 8 << 20
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

// encode makes the body of a message.
func encode(topic, method string, req any) ([]byte, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "send "+method+" to "+topic, "", "encode %T: %w", req, err)
	}
	if len(b) > s4t.MaxMessage {
		return nil, s4t.Errorf(s4t.TooMany, "send "+method+" to "+topic, "split the request", "it has %d bytes, %d are allowed", len(b), s4t.MaxMessage)
	}
	return b, nil
}

// invoke runs h for one message and makes its outcome fit to cross: a panic
// and an error that nobody meant for a user are logged here and become
// "internal error".
func invoke(ctx context.Context, log *slog.Logger, h Handler, topic, method string, body []byte) (reply []byte, werr *wire.Error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("a handler panicked", "topic", topic, "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			reply, werr = nil, wire.FromError(s4t.Errorf(s4t.Internal, "", "", "panic"))
		}
	}()
	reply, err := h(ctx, method, body)
	if err == nil && len(reply) > MaxReply {
		err = s4t.Errorf(s4t.TooMany, "answer "+method, "ask for less", "the answer has %d bytes, %d are allowed", len(reply), MaxReply)
	}
	if err == nil {
		return reply, nil
	}
	if _, typed := errors.AsType[*s4t.Error](err); !typed && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = s4t.Errorf(s4t.Timeout, "answer "+method, "", "it was not done in the time given")
	}
	if s4t.KindOf(err) == s4t.Internal {
		log.Error("a request met an internal error", "topic", topic, "method", method, "err", detail(err))
	}
	return nil, wire.FromError(err)
}

// detail is the text of err with its cause, for the log.
func detail(err error) string {
	s := err.Error()
	if cause := errors.Unwrap(err); cause != nil && cause.Error() != s {
		s += ": " + cause.Error()
	}
	return s
}

// decode reads a reply into what the caller gave; nil drops it.
func decode(topic, method string, body []byte, reply any) error {
	if reply == nil {
		return nil
	}
	var err error
	if raw, ok := reply.(Raw); ok {
		err = raw.ParseRaw(body)
	} else {
		err = json.Unmarshal(body, reply)
	}
	if err != nil {
		return s4t.Errorf(s4t.Internal, "call "+method+" on "+topic, "", "the answer is not understood: %w", err)
	}
	return nil
}

// nobody is the error for a topic that no server serves.
func nobody(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "nobody serves this topic now")
}

// lost is the error of a call that was under way when the queue, or the server,
// went away.
func lost(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "call "+method+" on "+topic, "try again in a moment", "the answer was lost; it may have been done")
}

// away is the error of what cannot be sent while there is no queue.
func away(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "the queue is away")
}

// gaveUp is the error of a caller whose context ended.
func gaveUp(ctx context.Context, topic, method string) error {
	return s4t.Errorf(s4t.Timeout, "call "+method+" on "+topic, "it may still get done", "no answer in the time given: %w", context.Cause(ctx))
}
