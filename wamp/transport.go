package wamp

import (
	"io"

	"github.com/stack4things/s4t"
)

// Messages carries whole WAMP messages, each at most [s4t.MaxMessage] bytes.
//
// It notices a dead peer by itself: Read fails when nothing at all (message,
// ping or pong) arrived for [s4t.PresenceTimeout] + [s4t.PresenceInterval].
// The cloud pings every PresenceInterval.
type Messages interface {
	Read() ([]byte, error) // the next message; valid until the next Read; one caller at a time
	Write(p []byte) error  // safe for concurrent use; p is not kept
	io.Closer              // ends a Read and a Write that are under way
}

// WebSocket is what [Over] needs of a WebSocket connection. Op is RFC 6455's
// opcode.
type WebSocket[Op ~byte] interface {
	ReadMessage() (Op, []byte, error)
	WriteMessage(op Op, p []byte) error
	io.Closer
}

// opBinary is RFC 6455's opcode of a binary message.
const opBinary = 2

// Over carries WAMP over a WebSocket that was opened with [Subprotocol].
func Over[Op ~byte](c WebSocket[Op]) Messages { return overWebSocket[Op]{c} }

type overWebSocket[Op ~byte] struct{ WebSocket[Op] }

func (o overWebSocket[Op]) Read() ([]byte, error) {
	op, p, err := o.ReadMessage()
	if err == nil && op != opBinary {
		return nil, s4t.Errorf(s4t.Invalid, "read a WAMP message", "", "message is not binary")
	}
	return p, err
}

func (o overWebSocket[Op]) Write(p []byte) error { return o.WriteMessage(opBinary, p) }
