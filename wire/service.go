package wire

import (
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: services, streams, operations, events, audit.
const (
	MethodServiceExpose = "service.expose" // ServiceExpose -> s4t.Operation
	MethodServiceList   = "service.list"   // ServiceList -> List[s4t.Service]
	MethodServiceGet    = "service.get"    // RefRequest -> s4t.Service
	MethodServiceHide   = "service.hide"   // ServiceHide -> s4t.Operation
	MethodServiceUpdate = "service.update" // ServiceUpdate -> s4t.Service
	MethodServiceLookup = "service.lookup" // ServiceLookup -> ServicePlace: for the name server of an API process
	MethodStreamOpen    = "stream.open"    // StreamOpen -> StreamGrant

	MethodOperationList = "operation.list" // ListRequest -> List[s4t.Operation], oldest first
	MethodOperationGet  = "operation.get"  // OperationGet -> s4t.Operation
	MethodOperationDone = "operation.done" // RefRequest (cast, from the API): step 10
	MethodOperationFeed = "operation.feed" // OperationFeed -> List[s4t.Operation]: of all projects, for an API process
	MethodEventList     = "event.list"     // EventList -> List[s4t.Event], oldest first; EventID is the newest of all
	MethodEventFeed     = "event.feed"     // EventList without a caller -> List[s4t.Event]: those of all projects, for an API process
	MethodAuditChain    = "audit.chain"    // AuditChain -> s4t.AuditChain
	MethodAuditList     = "audit.list"     // AuditList -> List[s4t.AuditRecord], oldest first
)

// ServiceExpose asks for a public port.
type ServiceExpose struct {
	Caller     Caller `json:"caller"`
	Board      string `json:"board"`                 // name or id
	Service    string `json:"service"`               // a name of s4t.KnownServices, or a TCP port
	Target     string `json:"target,omitempty"`      // host; the board itself by default
	PublicPort int    `json:"public_port,omitempty"` // 0 chooses one
	DNSName    string `json:"dns_name,omitempty"`    // see [s4t.ParseDNSName]; none by default
}

// ServiceUpdate changes what is not nil.
type ServiceUpdate struct {
	Caller  Caller  `json:"caller"`
	Board   string  `json:"board"`
	Service string  `json:"service"`            // name, TCP port or id
	DNSName *string `json:"dns_name,omitempty"` // empty: it has none any more
}

// ServiceLookup asks, without a caller, where the service with a DNS name is: DNS tells
// everybody.
type ServiceLookup struct {
	Name string `json:"name"` // in lower case, without the zone
}

// ServicePlace answers it.
type ServicePlace struct {
	Host       string `json:"host,omitempty"` // address or name of the tunnel agent's host; empty: no service has the name
	PublicPort int    `json:"public_port,omitempty"`
}

// ServiceList asks for exposed services, of one board if Board is given.
type ServiceList struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board,omitempty"`
	Page   Page   `json:"page,omitzero"`
}

// ServiceHide closes a public port.
type ServiceHide struct {
	Caller  Caller `json:"caller"`
	Board   string `json:"board"`
	Service string `json:"service"` // name, TCP port or id
}

// StreamOpen asks for one stream to a TCP service of a board.
type StreamOpen struct {
	Caller  Caller `json:"caller"`
	Board   string `json:"board"`
	Target  string `json:"target,omitempty"` // host; 127.0.0.1 by default
	TCPPort int    `json:"port"`

	Terminal bool `json:"terminal,omitempty"` // a shell of the board is opened, in the place of a port: what package terminal describes

	Resumable string `json:"resumable,omitempty"` // a name for the stream, 32 hexadecimal digits: it may be resumed, where the board can
	Again     bool   `json:"again,omitempty"`     // the stream of that name is resumed

	HostKeys bool   `json:"host_keys,omitempty"` // the board is asked for the SSH host keys of the service
	Origin   string `json:"origin,omitempty"`    // of the page that asks, which alone may use the ticket; empty: it is no page
}

// TargetTerminal is the target of a ticket for a terminal of the board. No target of a service
// is like it: those have a port.
const TargetTerminal = "terminal"

// HostKeysAsk asks a board for the host keys of an SSH service of its own.
type HostKeysAsk struct {
	TCPPort int `json:"port"`
}

// HostKeys answers it: authorized_keys form, none where no SSH service answers.
type HostKeys struct {
	Keys []string `json:"keys"`
}

// StreamGrant is where to go and the ticket that opens it, once, within 60 s.
type StreamGrant struct {
	URL       string   `json:"url"` // https://host:port of the tunnel agent; the stream is at /rtunnel
	Ticket    string   `json:"ticket"`
	BoardID   string   `json:"board_id"`
	Recorded  bool     `json:"recorded,omitempty"`  // what the terminal's shell writes is recorded
	Resumable bool     `json:"resumable,omitempty"` // it carries what package rtunnel/resume describes
	HostKeys  []string `json:"host_keys,omitempty"` // where they were asked for: as the board's agent saw them just now
}

// OperationGet asks for an operation as it is now. Who waits for more is told
// by [News] when to ask again.
type OperationGet struct {
	Caller Caller          `json:"caller"`
	ID     s4t.OperationID `json:"id"`
}

// OperationFeed asks for operations as they are now; those that do not exist are left out.
type OperationFeed struct {
	IDs []s4t.OperationID `json:"ids"` // at most MaxOperationFeed
}

// MaxOperationFeed bounds the operations of one [OperationFeed].
const MaxOperationFeed = 64

// EventList asks for the events after one, at most Limit. Where some of them
// are not kept any more, it is NotFound.
type EventList struct {
	Caller Caller `json:"caller"`
	After  int64  `json:"after"`
	Limit  int    `json:"limit,omitempty"` // 1 to MaxEvents; 0 means MaxEvents
	Board  string `json:"board,omitempty"` // name of the board concerned; empty: any
}

// MaxEvents bounds the events of one list.
const MaxEvents = 1000

// AuditChain asks for a page of the audit's chain: the blocks that end after a record of it.
type AuditChain struct {
	Caller Caller `json:"caller"`
	After  int64  `json:"after"`
}

// AuditList asks for audit records, oldest first.
type AuditList struct {
	Caller Caller        `json:"caller"`
	Board  string        `json:"board,omitempty"`
	Since  time.Duration `json:"since,omitempty"` // back from now; 0 means all
	Page   Page          `json:"page,omitzero"`
}
