package wamp

import (
	"fmt"
)

// Types of messages (WAMP section 6.5), as far as a client meets them.
const (
	msgHello        = 1
	msgWelcome      = 2
	msgAbort        = 3
	msgChallenge    = 4
	msgAuthenticate = 5
	msgGoodbye      = 6
	msgError        = 8
	msgSubscribe    = 32
	msgSubscribed   = 33
	msgEvent        = 36
	msgCall         = 48
	msgCancel       = 49
	msgResult       = 50
	msgRegister     = 64
	msgRegistered   = 65
	msgInvocation   = 68
	msgInterrupt    = 69
	msgYield        = 70
)

// message is a received message with the shape of its type: what follows says
// which element is what.
type message struct {
	kind    int64
	request uint64 // of a reply, INVOCATION, INTERRUPT; the id of WELCOME
	id      uint64 // SUBSCRIBED, EVENT: subscription; REGISTERED, INVOCATION: registration
	of      int64  // ERROR: type of the request
	uri     string // ABORT, GOODBYE: reason; ERROR: error; CHALLENGE: method
	details dict
	args    list
	kwargs  dict
}

// parse decodes a message of the cloud. A type that a client does not expect
// is an error: the session cannot go on.
func parse(b []byte) (message, error) {
	l, err := decodeList(b)
	if err != nil {
		return message{}, err
	}
	f := fields{l: l}
	m := message{kind: int64(f.id())}
	switch m.kind {
	case msgWelcome:
		m.request, m.details = f.id(), f.dict()
	case msgAbort, msgGoodbye:
		m.details, m.uri = f.dict(), f.text()
	case msgChallenge:
		m.uri, m.details = f.text(), f.dict()
	case msgError:
		m.of, m.request, m.details, m.uri = int64(f.id()), f.id(), f.dict(), f.text()
		m.payload(&f)
	case msgSubscribed, msgRegistered:
		m.request, m.id = f.id(), f.id()
	case msgEvent:
		m.id = f.id()
		f.id() // publication
		m.details = f.dict()
		m.payload(&f)
	case msgResult:
		m.request, m.details = f.id(), f.dict()
		m.payload(&f)
	case msgInvocation:
		m.request, m.id, m.details = f.id(), f.id(), f.dict()
		m.payload(&f)
	case msgInterrupt:
		m.request, m.details = f.id(), f.dict()
	default:
		return message{}, fmt.Errorf("message of type %d was not expected", m.kind)
	}
	if f.bad {
		return message{}, fmt.Errorf("message of type %d is malformed", m.kind)
	}
	return m, nil
}

func (m *message) payload(f *fields) {
	if len(f.l) > 0 {
		m.args = f.list()
	}
	if len(f.l) > 0 {
		m.kwargs = f.dict()
	}
}

// arg is the payload: the first positional argument, "" if there is none.
func (m *message) arg() string {
	if len(m.args) == 0 {
		return ""
	}
	s, _ := m.args[0].(string)
	return s
}

// fields takes the elements of a message one by one; bad is set by the first
// that is missing or of another type.
type fields struct {
	l   list
	bad bool
}

func next[T any](f *fields) T {
	var zero T
	if len(f.l) == 0 {
		f.bad = true
		return zero
	}
	v, ok := f.l[0].(T)
	f.l = f.l[1:]
	if !ok {
		f.bad = true
	}
	return v
}

// id takes a number of 0 to 2^53 (WAMP section 5.1.2).
func (f *fields) id() uint64 {
	v := next[int64](f)
	if v < 0 || v > 1<<53 {
		f.bad = true
		return 0
	}
	return uint64(v)
}

func (f *fields) text() string { return next[string](f) }
func (f *fields) dict() dict   { return next[dict](f) }
func (f *fields) list() list   { return next[list](f) }

// payload is one positional argument, or none for "".
func payload(l list, arg string) list {
	if arg == "" {
		return l
	}
	return append(l, list{arg})
}
