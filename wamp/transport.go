package wamp

import (
	"context"
	"io"
	"time"

	"github.com/stack4things/s4t"
)

// Messages carries whole WAMP messages, each at most [s4t.MaxMessage] bytes.
//
// It notices a dead peer by itself (Read fails), or has a method Idle, see
// [Over].
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
	Idle() time.Duration // how long nothing at all has come, pings included
	io.Closer
}

// opBinary is RFC 6455's opcode of a binary message.
const opBinary = 2

// Over carries WAMP over a WebSocket that was opened with [Subprotocol]. A
// session over it ends when nothing came for [s4t.PresenceTimeout] +
// [s4t.PresenceInterval], for the cloud pings every PresenceInterval; or where the
// board alone pings, for two pings and PresenceTimeout.
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

// idler is a transport that leaves it to the session to notice a dead peer.
type idler interface {
	Idle() time.Duration
	io.Closer
}

// maxIdle is how long nothing may come; a peer is not dead only because this
// process was stopped for a while, so what came meanwhile gets settle to be
// read.
const (
	maxIdle = s4t.PresenceTimeout + s4t.PresenceInterval
	settle  = 500 * time.Millisecond
)

// watch closes t when nothing came for maxIdle. It returns when ctx ends.
func watch(ctx context.Context, t idler, maxIdle time.Duration) {
	timer := time.NewTimer(maxIdle)
	defer timer.Stop()
	for late := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		left := maxIdle - t.Idle()
		switch {
		case left > 0:
			late = false
			timer.Reset(left)
		case !late:
			late = true
			timer.Reset(settle)
		default:
			t.Close()
			return
		}
	}
}
