package rtunnel

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 names it; it authenticates nothing
	"encoding/base64"
)

// Path and the subprotocols of rtunnels.
const (
	Path               = "/rtunnel"
	SubprotocolPort    = "s4t.port.1"
	SubprotocolStreams = "s4t.streams.1"
	SubprotocolStream  = "s4t.stream.1"
	SubprotocolBundle  = "s4t.bundle.1"
	SubprotocolPeer    = "s4t.peer.1"

	// TicketPrefix begins a subprotocol that is a ticket, in base64url: a browser sends no
	// header Authorization with a WebSocket. It is offered beside one of the above, and never
	// the answer.
	TicketPrefix = "s4t.ticket."
)

// AcceptKey is the answer to a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
