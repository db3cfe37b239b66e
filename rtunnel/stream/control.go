package stream

import (
	"encoding/json"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// control is a text message on an rtunnel that carries streams. Exactly one
// field is set.
//
//	agent            board
//	open    ------>            a stream with this ticket, please
//	        <------  opening   (the target takes its time)
//	        <------  opened    or refused, and the rtunnel is idle again
//	bytes   <----->  bytes     binary messages
//	eof     <----->  eof       each direction by itself; after both the rtunnel is idle
//	reset   <----->  reset     the stream is broken, and the rtunnel is closed
type control struct {
	Open    *openControl `json:"open,omitempty"`
	Opening *struct{}    `json:"opening,omitempty"`
	Opened  *struct{}    `json:"opened,omitempty"`
	Refused *wire.Error  `json:"refused,omitempty"`
	EOF     *struct{}    `json:"eof,omitempty"`
	Reset   *struct{}    `json:"reset,omitempty"`
}

// openControl asks for a stream.
type openControl struct {
	Ticket  string `json:"ticket"`
	Source  string `json:"source,omitempty"`  // of a public port's stream: the address it was opened from
	Waiting int    `json:"waiting,omitempty"` // how many more streams wait for an idle rtunnel of this board
}

const maxControlText = 4096 // bytes of a control message; a ticket has at most wire.MaxTicket

// set marks a field of control that has no content.
var set = &struct{}{}

// parseControl reads a text message.
func parseControl(p []byte) (control, error) {
	var m control
	if len(p) > maxControlText {
		return m, tooLong(len(p), maxControlText)
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return m, s4t.Errorf(s4t.Invalid, readOp, "bring both sides to the same version", "a control message is not understood: %w", err)
	}
	if m.Open != nil && len(m.Open.Ticket) > wire.MaxTicket {
		return m, tooLong(len(m.Open.Ticket), wire.MaxTicket)
	}
	return m, nil
}

// send writes m.
func (m control) send(c *rtunnel.Conn) error { return c.WriteMessage(rtunnel.OpText, wire.Encode(m)) }

const readOp = "read from the rtunnel"

func tooLong(n, most int) error {
	return s4t.Errorf(s4t.TooMany, readOp, "", "a message of %d bytes is over the limit of %d", n, most)
}

// streamError is a protocol error between the ends of a stream.
func streamError(what string) error {
	return s4t.Errorf(s4t.Invalid, readOp, "bring both sides to the same version", "%s", what)
}

// refused is the answer to an open that err stands against.
func refused(err error) control { return control{Refused: wire.FromError(err)} }

var (
	errReset   = s4t.Errorf(s4t.Unavailable, "carry a stream", "", "the other end reset it")
	errRevoked = s4t.Errorf(s4t.Forbidden, "carry a stream", "", "it is not allowed any more")
	errSurplus = s4t.Errorf(s4t.TooMany, "keep an rtunnel for streams", "", "the board has more idle ones than it needs")
	errSilent  = s4t.Errorf(s4t.Timeout, "carry a stream", "", "the other end of the rtunnel does not answer")
)
