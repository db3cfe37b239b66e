package s4t

import "time"

// Bounds of offers and leases.
const (
	MaxOfferBoards = 5000
	MaxLeaseBoards = 1000
	MaxLeaseAhead  = 366 * 24 * time.Hour // how far ahead a lease may begin
	MaxLease       = 366 * 24 * time.Hour // how long one may be
	DefaultLease   = 2 * time.Hour
	LeaseHistory   = 90 * 24 * time.Hour // how long one that is over is kept
)

// Offer is what the owner of boards gives of them to others. Its boards are those that are
// named and those of the owner that have all of its labels, at the time they are asked for.
type Offer struct {
	ID      OfferID   `json:"id"`
	Name    string    `json:"name"`
	Project ProjectID `json:"project"` // the owner

	Boards []FleetBoard      `json:"boards"` // what it has now, by name
	Named  []BoardID         `json:"named,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`

	To          []ProjectID `json:"to"`           // who may book them; empty: every project of the cloud
	Allow       []string    `json:"allow"`        // actions, see package lease
	Max         Seconds     `json:"max_seconds"`  // how long one lease may be
	Hours       string      `json:"hours"`        // when leases may be; empty: always
	Zone        string      `json:"zone"`         // of Hours, IANA name; empty: UTC
	Shared      bool        `json:"shared"`       // leases stand side by side on one board, each under its profile
	MaxPriority int         `json:"max_priority"` // of a lease
	CreatedAt   time.Time   `json:"created_at"`
}

// FoundBoard is a board that a project may book.
type FoundBoard struct {
	ID       BoardID           `json:"id"`
	Name     string            `json:"name"`
	Project  ProjectID         `json:"project"` // the owner
	Online   bool              `json:"online"`
	Labels   map[string]string `json:"labels,omitempty"`
	Location *Location         `json:"location,omitempty"`
	Offer    OfferID           `json:"offer,omitempty"` // by which it may be booked; empty: it is the project's own
	Allow    []string          `json:"allow"`           // actions, see package lease

	Kilometres *float64   `json:"distance_km,omitempty"` // from the place that was asked for
	FreeFrom   *time.Time `json:"free_from,omitempty"`   // for as long as was asked for; absent: not within a month
}

// Seconds is a length of time in whole seconds.
type Seconds int64

// Duration is the same length.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }
