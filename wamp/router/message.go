package router

import (
	"fmt"

	"github.com/stack4things/s4t/wamp"
)

// WAMP's own URIs, as far as they are said here.
const (
	errNotAuthorized     = "wamp.error.not_authorized"
	errNoSuchRealm       = "wamp.error.no_such_realm"
	errAuthentication    = "wamp.error.authentication_failed"
	errProtocol          = "wamp.error.protocol_violation"
	errExists            = "wamp.error.procedure_already_exists"
	errNoRegistration    = "wamp.error.no_such_registration"
	errNoSubscription    = "wamp.error.no_such_subscription"
	errCanceled          = "wamp.error.canceled"
	errNetworkFailure    = "wamp.error.network_failure"
	detailMessage        = "message" // of an ABORT or a GOODBYE, for people
	detailMode           = "mode"    // of a CANCEL or an INTERRUPT
	modeKillNoWait       = "killnowait"
	optionAcknowledge    = "acknowledge"
	optionMatch          = "match"
	optionInvoke         = "invoke"
	featureCallCanceling = "call_canceling"
)

type (
	list = []any
	dict = map[string]any
)

// message is a message of a board with the shape of its type.
type message struct {
	kind    int64
	request uint64 // of a request, or of what is answered
	id      uint64 // UNREGISTER, UNSUBSCRIBE: what ends
	of      int64  // ERROR: type of the request
	uri     string // of a realm, procedure, topic or error; AUTHENTICATE: the signature
	options dict   // or details
	args    list
	kwargs  dict
}

// decode reads one message of a board. A type that is not for a router to receive is an
// error.
func decode(b []byte) (message, error) {
	l, err := wamp.Decode(b)
	if err != nil {
		return message{}, err
	}
	f := wamp.Fields{Left: l}
	m := message{kind: int64(f.ID())}
	switch m.kind {
	case wamp.MsgHello, wamp.MsgAuthenticate:
		m.uri, m.options = f.Text(), f.Dict()
	case wamp.MsgAbort, wamp.MsgGoodbye:
		m.options, m.uri = f.Dict(), f.Text()
	case wamp.MsgCall, wamp.MsgPublish:
		m.request, m.options, m.uri = f.ID(), f.Dict(), f.Text()
		m.args, m.kwargs = f.Payload()
	case wamp.MsgRegister, wamp.MsgSubscribe:
		m.request, m.options, m.uri = f.ID(), f.Dict(), f.Text()
	case wamp.MsgUnregister, wamp.MsgUnsubscribe:
		m.request, m.id = f.ID(), f.ID()
	case wamp.MsgCancel:
		m.request, m.options = f.ID(), f.Dict()
	case wamp.MsgYield:
		m.request, m.options = f.ID(), f.Dict()
		m.args, m.kwargs = f.Payload()
	case wamp.MsgError:
		m.of, m.request, m.options, m.uri = int64(f.ID()), f.ID(), f.Dict(), f.Text()
		m.args, m.kwargs = f.Payload()
	default:
		return message{}, fmt.Errorf("a message of type %d is not for a router", m.kind)
	}
	if f.Bad {
		return message{}, fmt.Errorf("a message of type %d is malformed", m.kind)
	}
	return m, nil
}

// isRequest reports whether a message has a request id of its own. They grow (WAMP
// section 5.1.2).
func (m *message) isRequest() bool {
	switch m.kind {
	case wamp.MsgCall, wamp.MsgPublish, wamp.MsgRegister, wamp.MsgUnregister, wamp.MsgSubscribe, wamp.MsgUnsubscribe:
		return true
	}
	return false
}

// arg is the payload: the first positional argument.
func (m *message) arg() string {
	if len(m.args) == 0 {
		return ""
	}
	s, _ := m.args[0].(string)
	return s
}

// encode makes a message.
func encode(elements ...any) []byte { return wamp.Append(nil, elements) }

// refusal is the ERROR that answers m with one of WAMP's own URIs.
func refusal(m *message, uri string) []byte {
	return encode(wamp.MsgError, m.kind, m.request, dict{}, uri)
}

// failure is the ERROR that answers request of a type with err.
func failure(kind int64, request uint64, err error) []byte {
	uri, text := wamp.EncodeError(err)
	return encode(wamp.MsgError, kind, request, dict{}, uri, list{}, dict{wamp.ErrorKey: text})
}

// abort is the ABORT that ends what is no session yet, or breaks the protocol.
func abort(reason, say string) []byte {
	return encode(wamp.MsgAbort, dict{detailMessage: say}, reason)
}

// goodbye ends a session.
func goodbye(reason, say string) []byte {
	details := dict{}
	if say != "" {
		details[detailMessage] = say
	}
	return encode(wamp.MsgGoodbye, details, reason)
}
