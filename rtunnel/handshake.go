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
)

// AcceptKey is the answer to a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
