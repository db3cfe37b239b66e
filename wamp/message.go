package wamp

import (
	"fmt"
)

// Types of messages (WAMP section 6.5). A client meets those below the blank line
// only where it is somebody else's.
const (
	MsgHello        = 1
	MsgWelcome      = 2
	MsgAbort        = 3
	MsgChallenge    = 4
	MsgAuthenticate = 5
	MsgGoodbye      = 6
	MsgError        = 8
	MsgSubscribe    = 32
	MsgSubscribed   = 33
	MsgEvent        = 36
	MsgCall         = 48
	MsgCancel       = 49
	MsgResult       = 50
	MsgRegister     = 64
	MsgRegistered   = 65
	MsgInvocation   = 68
	MsgInterrupt    = 69
	MsgYield        = 70

	MsgPublish      = 16
	MsgPublished    = 17
	MsgUnsubscribe  = 34
	MsgUnsubscribed = 35
	MsgUnregister   = 66
	MsgUnregistered = 67
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
	l, err := Decode(b)
	if err != nil {
		return message{}, err
	}
	f := Fields{Left: l}
	m := message{kind: int64(f.ID())}
	switch m.kind {
	case MsgWelcome:
		m.request, m.details = f.ID(), f.Dict()
	case MsgAbort, MsgGoodbye:
		m.details, m.uri = f.Dict(), f.Text()
	case MsgChallenge:
		m.uri, m.details = f.Text(), f.Dict()
	case MsgError:
		m.of, m.request, m.details, m.uri = int64(f.ID()), f.ID(), f.Dict(), f.Text()
		m.args, m.kwargs = f.Payload()
	case MsgSubscribed, MsgRegistered:
		m.request, m.id = f.ID(), f.ID()
	case MsgEvent:
		m.id = f.ID()
		f.ID() // publication
		m.details = f.Dict()
		m.args, m.kwargs = f.Payload()
	case MsgResult:
		m.request, m.details = f.ID(), f.Dict()
		m.args, m.kwargs = f.Payload()
	case MsgInvocation:
		m.request, m.id, m.details = f.ID(), f.ID(), f.Dict()
		m.args, m.kwargs = f.Payload()
	case MsgInterrupt:
		m.request, m.details = f.ID(), f.Dict()
	default:
		return message{}, fmt.Errorf("message of type %d was not expected", m.kind)
	}
	if f.Bad {
		return message{}, fmt.Errorf("message of type %d is malformed", m.kind)
	}
	return m, nil
}

// arg is the payload: the first positional argument, "" if there is none.
func (m *message) arg() string {
	if len(m.args) == 0 {
		return ""
	}
	s, _ := m.args[0].(string)
	return s
}

// Fields takes the elements of a message one by one.
type Fields struct {
	Left list
	Bad  bool // an element was missing or of another type; what was taken then is zero
}

func next[T any](f *Fields) T {
	var zero T
	if len(f.Left) == 0 {
		f.Bad = true
		return zero
	}
	v, ok := f.Left[0].(T)
	f.Left = f.Left[1:]
	if !ok {
		f.Bad = true
	}
	return v
}

// ID takes a number of 0 to 2^53 (WAMP section 5.1.2).
func (f *Fields) ID() uint64 {
	v := next[int64](f)
	if v < 0 || v > 1<<53 {
		f.Bad = true
		return 0
	}
	return uint64(v)
}

// Text takes a string.
func (f *Fields) Text() string { return next[string](f) }

// Dict takes a dictionary.
func (f *Fields) Dict() map[string]any { return next[dict](f) }

// List takes a list.
func (f *Fields) List() []any { return next[list](f) }

// Payload takes the arguments and the keyword arguments, either of which may be
// missing.
func (f *Fields) Payload() (args []any, kwargs map[string]any) {
	if len(f.Left) > 0 {
		args = f.List()
	}
	if len(f.Left) > 0 {
		kwargs = f.Dict()
	}
	return args, kwargs
}

// payload is one positional argument, or none for "".
func payload(l list, arg string) list {
	if arg == "" {
		return l
	}
	return append(l, list{arg})
}
