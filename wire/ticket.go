package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Purposes of a ticket.
const (
	PurposePort    = "port"    // a board opens the data rtunnel of one port
	PurposeStreams = "streams" // a board opens an idle data rtunnel that waits for a stream
	PurposeStream  = "stream"  // a user opens one stream to a target of a board
	PurposeBundle  = "bundle"  // a board fetches a bundle
	PurposePeer    = "peer"    // a tunnel agent opens the rtunnel of a peering to another
	PurposeService = "service" // a tunnel agent opens streams of an exposed service; valid while the service is desired, any number of times
)

// Ticket authorises one data rtunnel or stream. The conductor signs it; the
// tunnel agent and the board each verify it at the point of use.
type Ticket struct {
	ID      string        `json:"id"` // random; a ticket other than PurposeService works once
	Purpose string        `json:"p"`
	Agent   s4t.AgentID   `json:"a"` // the tunnel agent it is for
	Board   s4t.BoardID   `json:"b"`
	Port    s4t.PortID    `json:"n,omitempty"` // PurposePort
	Service s4t.ServiceID `json:"s,omitempty"` // PurposeService
	Bundle  string        `json:"d,omitempty"` // PurposeBundle: its digest
	Project s4t.ProjectID `json:"j,omitempty"` // PurposeBundle: whose plugin it is; PurposeStream: the board's owner, who opens it
	Peering string        `json:"m,omitempty"` // PurposePeer: its id, see [PeeringID]
	Target  string        `json:"t,omitempty"` // PurposeStream, PurposeService: "host:port" on the board's side
	Expires int64         `json:"e,omitempty"` // Unix seconds, the cloud's clock; 0 with PurposeService only
	User    string        `json:"u,omitempty"` // who asked, for the board's log
	Origin  string        `json:"o,omitempty"` // PurposeStream: of the page that asked (RFC 6454); empty: it was no page

	Resumable string `json:"r,omitempty"` // PurposeStream: the name of the stream, which can be resumed; empty: it cannot
	Again     bool   `json:"g,omitempty"` // it resumes the stream of that name, which has been begun

	Recording s4t.RecordingID `json:"c,omitempty"` // PurposeStream, of a terminal: it is recorded as that; empty: it is not

	Lease s4t.LeaseID `json:"l,omitempty"` // PurposeStream: it is open while the lease is; empty: it is of the board's own project

	// Incarnation of the agent it is for, of a ticket that works once: one that
	// was started anew does not remember what was used. Empty: any.
	Incarnation string `json:"i,omitempty"`
}

// MaxTicket is the longest encoded ticket, in bytes.
const MaxTicket = 2048

// ticketContext separates our signatures from any other use of the key.
const ticketContext = "s4t-ticket-1\x00"

// Sign returns "base64url(JSON).base64url(signature)".
func (t Ticket) Sign(key ed25519.PrivateKey) string {
	b := Encode(t)
	sig := ed25519.Sign(key, append([]byte(ticketContext), b...))
	return base64.RawURLEncoding.EncodeToString(b) + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// VerifyTicket checks signature and expiry, and returns what was signed. now
// is the cloud's clock. It does not know whether the ticket was used before.
func VerifyTicket(key ed25519.PublicKey, text string, now time.Time) (Ticket, error) {
	bad := func(format string, args ...any) (Ticket, error) {
		return Ticket{}, s4t.Errorf(s4t.Unauthenticated, "check a ticket", "ask for a new one", format, args...)
	}
	if len(text) > MaxTicket {
		return bad("it is longer than %d bytes", MaxTicket)
	}
	body, sig64, ok := strings.Cut(text, ".")
	if !ok {
		return bad("it is cut short")
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return bad("it is not base64")
	}
	sig, err := base64.RawURLEncoding.DecodeString(sig64)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return bad("its signature is malformed")
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(ticketContext), b...), sig) {
		return bad("its signature is not the conductor's")
	}
	var t Ticket
	if err := json.Unmarshal(b, &t); err != nil {
		return bad("its content is not understood")
	}
	if t.Expires == 0 && t.Purpose != PurposeService || t.Expires != 0 && now.Unix() > t.Expires {
		return bad("it has expired")
	}
	return t, nil
}
