// Package wire holds the messages between processes: the API and the
// conductor, the conductor and its agents (over the queue), the WAMP agent and
// the boards (over WAMP), and the tickets that authorise streams. They are
// JSON; an unknown field is ignored, so that versions may differ by one.
//
// It sends nothing and decides nothing.
package wire

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/stack4things/s4t"
)

// Error is an [s4t.Error] as it crosses a process boundary. The cause stays
// behind; an error that is not an [s4t.Error] crosses as "internal error".
type Error struct {
	Op   string   `json:"op,omitempty"`
	Kind s4t.Kind `json:"kind"`
	Msg  string   `json:"message"`
	Hint string   `json:"hint,omitempty"`

	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

// FromError converts err for sending; nil stays nil.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*s4t.Error](err); ok && e.Kind != s4t.Internal {
		msg := e.Msg
		if msg == "" && e.Err != nil {
			msg = e.Err.Error()
		}
		return &Error{Op: e.Op, Kind: e.Kind, Msg: msg, Hint: e.Hint, RetryAfter: e.RetryAfter}
	}
	return &Error{Kind: s4t.Internal, Msg: "internal error", Hint: "the operator finds the details in the log of iotronic"}
}

// Err converts back; a nil receiver gives a nil error.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	return &s4t.Error{Op: e.Op, Kind: e.Kind, Msg: e.Msg, Hint: e.Hint, RetryAfter: e.RetryAfter}
}

// Empty is the argument or reply of a method that has none.
type Empty struct{}

// Encode returns v as JSON. It panics on a type that cannot be encoded, which
// the golden test of each message rules out.
func Encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("wire: encode: " + err.Error())
	}
	return b
}
