// Package message is what the drivers of package queue have in common: how a
// message is encoded, how one is handled, and the errors that callers hear.
package message

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

// MaxReply bounds a reply, in bytes; see package queue.
const MaxReply = 8 << 20

// raw is queue.Raw, as far as a caller needs it.
type raw interface{ ParseRaw(raw []byte) error }

// Encode makes the body of a message.
func Encode(topic, method string, req any) ([]byte, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "send "+method+" to "+topic, "", "encode %T: %w", req, err)
	}
	if len(b) > s4t.MaxMessage {
		return nil, s4t.Errorf(s4t.TooMany, "send "+method+" to "+topic, "split the request", "it has %d bytes, %d are allowed", len(b), s4t.MaxMessage)
	}
	return b, nil
}

// Grace is how long handlers of calls may go on after their server was told to end: what
// a user asked for as a process is stopped in order is done, and answered.
const Grace = 1500 * time.Millisecond

// Within returns the context of the handler of a call: it ends with the caller's time, and
// [Grace] after that of the server.
func Within(server context.Context, until time.Time) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(server), until)
	stop := context.AfterFunc(server, func() {
		t := time.AfterFunc(Grace, cancel)
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	return ctx, func() { stop(); cancel() }
}

// Invoke runs h for one message and makes its outcome fit to cross: a panic
// and an error that nobody meant for a user are logged here and become
// "internal error".
func Invoke(ctx context.Context, log *slog.Logger, h func(ctx context.Context, method string, body []byte) ([]byte, error), topic, method string, body []byte) (reply []byte, werr *wire.Error) {
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "a handler panicked", "topic", topic, "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
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
		log.ErrorContext(ctx, "a request met an internal error", "topic", topic, "method", method, "err", detail(err))
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

// Decode reads a reply into what the caller gave; nil drops it.
func Decode(topic, method string, body []byte, reply any) error {
	if reply == nil {
		return nil
	}
	var err error
	if raw, ok := reply.(raw); ok {
		err = raw.ParseRaw(body)
	} else {
		err = json.Unmarshal(body, reply)
	}
	if err != nil {
		return s4t.Errorf(s4t.Internal, "call "+method+" on "+topic, "", "the answer is not understood: %w", err)
	}
	return nil
}

// Nobody is the error for a topic that no server serves.
func Nobody(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "nobody serves this topic now")
}

// Lost is the error of a call that was under way when the queue, or the server,
// went away.
func Lost(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "call "+method+" on "+topic, "try again in a moment", "the answer was lost; it may have been done")
}

// Away is the error of what cannot be sent while there is no queue.
func Away(topic, method string) error {
	return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "the queue is away")
}

// GaveUp is the error of a caller whose context ended.
func GaveUp(ctx context.Context, topic, method string) error {
	return s4t.Errorf(s4t.Timeout, "call "+method+" on "+topic, "it may still get done", "no answer in the time given: %w", context.Cause(ctx))
}

// Full is the error of a cast that finds no room.
func Full(topic, method string, depth int) error {
	return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "%d messages wait there already", depth)
}
