package s4t

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about an error. Kinds cross process
// boundaries as these strings, so they are never renamed.
type Kind string

// The closed list of kinds. The API maps them to HTTP and the command line to
// exit statuses, each in one place.
const (
	Invalid         Kind = "invalid"         // the request is wrong; do not retry it unchanged
	NotFound        Kind = "not_found"       // no such board, port, network, ... in this project
	Unauthenticated Kind = "unauthenticated" // no valid token
	Forbidden       Kind = "forbidden"       // a valid token whose role does not allow this
	Conflict        Kind = "conflict"        // exists already, or is in use
	Offline         Kind = "offline"         // the board has no live session; retry when it is back
	Unavailable     Kind = "unavailable"     // a part of the cloud is not there now; retry
	Timeout         Kind = "timeout"         // not done in the time given; it may still get done
	TooMany         Kind = "too_many"        // a limit is reached; the message says which
	Stale           Kind = "stale"           // what one held has ended: a claim whose time is over, or that somebody took
	Failed          Kind = "failed"          // it was done as it was asked for, and failed: a command; the message is its own
	Internal        Kind = "internal"        // our fault; details go to the log, not to the user
)

// Error is an error that a user may see. Its text is one line: what was
// attempted, what is wrong, and what to do about it.
type Error struct {
	Op   string // what was attempted, on what: `create bridge "lab"`
	Kind Kind
	Msg  string // what is wrong: `board "kitchen" does not exist`
	Hint string // what the user can do; may be empty
	Err  error  // cause, for errors.Is and the log; never shown to a user

	// RetryAfter is when it is worth another try, where that is known: with
	// TooMany and Unavailable. It crosses every border: as Retry-After over HTTP.
	RetryAfter time.Duration
}

// Error returns the whole line.
func (e *Error) Error() string {
	s := e.Msg
	if s == "" && e.Err != nil {
		s = e.Err.Error()
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [*Error]. A %w verb in format keeps a cause.
func Errorf(kind Kind, op, hint, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Op: op, Kind: kind, Msg: err.Error(), Hint: hint, Err: errors.Unwrap(err)}
}

// KindOf returns the kind of the outermost [*Error] in err's chain, Internal
// if err holds none, and "" if err is nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// After returns e with the time after which it is worth another try.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}
