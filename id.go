package s4t

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Identifiers are lower-case UUIDs (RFC 9562, version 4; of operations version 7), for example
// "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11". Each noun has a type of its own, so
// that a port cannot be passed where a board is meant.
type (
	BoardID     string // a board
	ProjectID   string // a project: the tenant
	UserID      string // a user
	TokenID     string // an API token (its public name, not its secret)
	NetworkID   string // a network: an isolated layer-2 or layer-3 segment
	SubnetID    string // an address block of a network
	PortID      string // a board's attachment to a network
	BridgeID    string // the user's request "put these boards on one network"
	ServiceID   string // an exposed service of a board
	EndpointID  string // a GRE endpoint of the data centre on a network
	FleetID     string // a set of boards
	OfferID     string // what an owner offers of boards
	LeaseID     string // a booking of boards, or a share of one
	RecordingID string // what a shell of a board wrote
	OperationID string // a recorded request that changes desired state
	AgentID     string // a WAMP agent or a tunnel agent, for example "tunnel-agent-1"
)

// NewID returns a fresh random identifier, for any of the ID types:
// BoardID(NewID()).
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// NewOperationID returns a fresh identifier of an operation. It begins with the time, in
// milliseconds (RFC 9562, version 7): what is recorded together lies together in the
// database's indexes, so that a commit writes fewer pages.
func NewOperationID() OperationID {
	id := NewID()
	ms := fmt.Sprintf("%012x", time.Now().UnixMilli())
	return OperationID(ms[:8] + "-" + ms[8:] + "-7" + id[15:])
}

// IsID reports whether s is a well-formed identifier. Names must not be, so
// that "NAME or id" is never ambiguous.
func IsID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
				return false
			}
		}
	}
	return true
}

// ValidName checks the name of a board, project, bridge or user: 1 to
// [MaxName] characters of a-z A-Z 0-9 . _ -, not starting with a dash or a
// dot, and not of the form of an identifier. what is the noun for the error.
func ValidName(what, name string) error {
	bad := func(why string) error {
		return Errorf(Invalid, "name a "+what, "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit", "%s name %q %s", what, name, why)
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > MaxName:
		return bad("is too long")
	case IsID(name):
		return bad("has the form of an id")
	}
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", r)) {
			return bad("has a character that is not allowed")
		}
	}
	return nil
}
