package s4t

import (
	"strings"
	"time"
)

// Service is a TCP service of a board with a public port on a tunnel agent
// (the paper's second sequence: remote access).
type Service struct {
	ID         ServiceID     `json:"id"`
	Project    ProjectID     `json:"project"`
	Board      string        `json:"board"` // its name
	BoardID    BoardID       `json:"board_id"`
	Name       string        `json:"name"`               // "ssh"; the port number as text where none was given
	TCPPort    int           `json:"port"`               // on the target
	Target     string        `json:"target"`             // host on the board's side; "127.0.0.1" by default
	Host       string        `json:"host"`               // where the public port listens, as users are told it
	PublicPort int           `json:"public_port"`        // reserved in the database before it is opened
	DNSName    string        `json:"dns_name,omitempty"` // its label in the cloud's DNS zone, in lower case; empty: none
	FQDN       string        `json:"fqdn,omitempty"`     // the whole name, where the cloud has a zone
	Status     ServiceStatus `json:"status"`
	Problem    string        `json:"problem,omitempty"` // what keeps it from being up, in the tunnel agent's words

	// TargetStatus says whether something listens where streams go, as far as
	// the board can tell: TargetListening, TargetRefused, or "" where it cannot.
	TargetStatus string `json:"target_status,omitempty"`

	CreatedAt time.Time `json:"created_at"`
}

// ServiceStatus is the state of an exposed service.
type ServiceStatus string

// The statuses of an exposed service.
const (
	ServicePending ServiceStatus = "pending" // the board is offline, or on its way
	ServiceUp      ServiceStatus = "up"      // the public port listens and the board is ready to take streams
)

// What a board can say of the target of a service.
const (
	TargetListening = "listening"
	TargetRefused   = "refused"
)

// KnownServices are the names that may be given instead of a TCP port.
var KnownServices = map[string]int{
	"ssh": 22, "telnet": 23, "http": 80, "https": 443, "mqtt": 1883, "modbus": 502,
	"postgresql": 5432, "mysql": 3306, "redis": 6379, "vnc": 5900, "rdp": 3389, "opcua": 4840,
}

// MaxDNSName is how long the DNS name of a service may be: with the "_" before it, which
// SRV records have, it is a label.
const MaxDNSName = 62

// OwnDNSName is the label that no service can have: the zone's own name server may be there.
const OwnDNSName = "ns"

// ParseDNSName checks the name that a service is to have in the cloud's DNS zone, a label of letters,
// digits and inner hyphens, and returns it as it is kept and compared: in lower case.
func ParseDNSName(op, name string) (string, error) {
	lower := strings.ToLower(name)
	switch {
	case len(name) > MaxDNSName:
		return "", Errorf(Invalid, op, "use a shorter one", "a DNS name has at most %d characters, this one %d", MaxDNSName, len(name))
	case !IsDNSLabel(lower):
		return "", Errorf(Invalid, op, "use letters, digits and, between them, hyphens: kitchen-ssh", "%q cannot be a DNS name", Line(name, MaxDNSName))
	case lower == OwnDNSName:
		return "", Errorf(Invalid, op, "use another one", "the DNS name %q is the name server's own", lower)
	}
	return lower, nil
}

// IsDNSLabel reports whether s can be a label of a host's name (RFC 1123), in lower case: letters,
// digits and inner hyphens, 63 at most.
func IsDNSLabel(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "-") == s && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
