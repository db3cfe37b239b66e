package wamp

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// ErrorKey is the keyword argument of an ERROR, and the detail of an ABORT,
// that holds the JSON of a [wire.Error].
const ErrorKey = "error"

// ErrorURI returns the WAMP error that stands for a kind: "s4t.error.offline".
func ErrorURI(kind s4t.Kind) string { return errorPrefix + string(kind) }

// EncodeError returns err as it crosses: the URI and the JSON for [ErrorKey].
func EncodeError(err error) (uri, text string) {
	w := wire.FromError(err)
	return ErrorURI(w.Kind), string(wire.Encode(w))
}

// DecodeError is the reverse: what an ERROR or ABORT with that URI says. text is
// the JSON under [ErrorKey], message what is there for people; both may be "".
// op is what was attempted, where the error does not say so itself.
func DecodeError(op, uri, text, message string) *s4t.Error {
	e := &s4t.Error{Op: op, Err: &Reason{URI: uri, Message: message}}
	var w wire.Error
	if len(text) > 0 && json.Unmarshal([]byte(text), &w) == nil && w.Kind != "" {
		e.Kind, e.Msg, e.Hint = w.Kind, w.Msg, w.Hint
		if w.Op != "" {
			e.Op = w.Op
		}
		return e
	}
	e.Kind, e.Hint = kindOf(uri)
	e.Msg = message
	if e.Msg == "" {
		e.Msg = uri
	}
	return e
}

// kindOf maps WAMP's own errors.
func kindOf(uri string) (kind s4t.Kind, hint string) {
	switch uri {
	case "wamp.error.authentication_failed", "wamp.error.no_auth_method", "wamp.error.no_matching_auth_method":
		return s4t.Unauthenticated, ""
	case "wamp.error.not_authorized", "wamp.error.authorization_failed":
		return s4t.Forbidden, ""
	case NoSuchProcedure, "wamp.error.network_failure", "wamp.error.no_eligible_callee",
		ReasonShutdown, ReasonAck, ReasonClosed, "wamp.close.close_realm":
		return s4t.Unavailable, "try again in a moment"
	case "wamp.error.canceled", "wamp.error.timeout":
		return s4t.Timeout, "it may still get done"
	case ReasonReplaced, ReasonCloned:
		return s4t.Conflict, ""
	case ReasonLeft:
		return s4t.Unauthenticated, "join again with a new code"
	case ReasonStale:
		return s4t.Unavailable, "try again in a moment"
	case "wamp.error.invalid_uri", "wamp.error.invalid_argument", "wamp.error.procedure_already_exists",
		"wamp.error.protocol_violation", "wamp.error.no_such_realm", "wamp.error.no_such_role":
		return s4t.Invalid, ""
	}
	if kind, ok := strings.CutPrefix(uri, errorPrefix); ok {
		return s4t.Kind(kind), ""
	}
	return s4t.Internal, ""
}

// Reason is what WAMP itself said: the cause inside an error of this package.
type Reason struct {
	URI     string // of the ERROR, ABORT or GOODBYE
	Message string // for people
}

// Error returns the URI and the message.
func (r *Reason) Error() string {
	if r.Message == "" {
		return r.URI
	}
	return r.URI + ": " + r.Message
}

// ReasonOf returns the WAMP URI inside err ([ReasonCloned] and the like), ""
// if the cloud gave none: the connection was just lost.
func ReasonOf(err error) string {
	if r, ok := errors.AsType[*Reason](err); ok {
		return r.URI
	}
	return ""
}
