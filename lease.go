package s4t

import "time"

// Lease is a booking of boards for a project and a window of time, all or nothing; or a
// share of another lease, which passes on no more than that has.
type Lease struct {
	ID      LeaseID   `json:"id"`
	Name    string    `json:"name"`
	Project ProjectID `json:"project"` // who uses the boards
	Parent  LeaseID   `json:"parent,omitempty"`
	User    string    `json:"user"` // who booked

	Status   LeaseStatus  `json:"status"`
	Reason   string       `json:"reason,omitempty"` // why it ended early
	Boards   []LeaseBoard `json:"boards"`           // by name
	From     time.Time    `json:"from"`
	Until    time.Time    `json:"until"` // without this instant
	Allow    []string     `json:"allow"` // actions, see package lease
	Priority int          `json:"priority"`

	// Next is the next window that is free for all of its boards, of a lease that was
	// pre-empted.
	Next      *time.Time `json:"next_free,omitempty"`
	CreatedAt time.Time  `json:"created_at"`

	// Operation takes back what it made; in the answer to who gave it back, or took it.
	Operation OperationID `json:"operation,omitempty"`
}

// LeaseBoard is a board of a lease, and by which offer it came.
type LeaseBoard struct {
	ID    BoardID   `json:"id"`
	Name  string    `json:"name"`
	Owner ProjectID `json:"owner"`
	Offer OfferID   `json:"offer,omitempty"` // empty: the project's own board
}

// LeasedBy is by what a project uses a board that is another's.
type LeasedBy struct {
	ID    LeaseID   `json:"id"`
	Name  string    `json:"name"`
	Until time.Time `json:"until"` // without this instant
	Allow []string  `json:"allow"` // actions, see package lease
}

// LeaseStatus is where a lease stands.
//
//	pending --its time comes--> active --its time is over--> ended
//	   |                          |---released, pre-empted, revoked
//	   '---released, pre-empted, revoked
type LeaseStatus string

// The statuses of a lease.
const (
	LeasePending   LeaseStatus = "pending"
	LeaseActive    LeaseStatus = "active"
	LeaseEnded     LeaseStatus = "ended"
	LeaseReleased  LeaseStatus = "released"   // by who had it
	LeasePreempted LeaseStatus = "pre-empted" // by one of a higher priority
	LeaseRevoked   LeaseStatus = "revoked"    // by the owner, or with the lease it was a share of
)

// Over reports whether nothing more comes of the lease.
func (s LeaseStatus) Over() bool { return s != LeasePending && s != LeaseActive }

// EndsAs is what a lease is when its time is over: what ends earlier than it was to has been told
// why.
func (l Lease) EndsAs() LeaseStatus {
	switch {
	case l.Reason == "":
		return LeaseEnded
	case l.Parent == "":
		return LeasePreempted
	}
	return LeaseRevoked
}

// Access is what a project may do on a board, and why.
type Access struct {
	Project ProjectID `json:"project"`
	Name    string    `json:"project_name,omitempty"` // of one that the caller sees
	By      string    `json:"by"`                     // "owner", "lease NAME", "share NAME of lease NAME"
	Lease   LeaseID   `json:"lease,omitempty"`
	Allow   []string  `json:"allow"`
	Until   time.Time `json:"until,omitzero"` // zero: it does not end
}
