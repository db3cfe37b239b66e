package s4t

import "time"

// MaxCalendar is how long a time calendars are asked for at most.
const MaxCalendar = 93 * 24 * time.Hour

// BoardCalendar is what is booked of a board in a time, and when in it the project that asks may book
// it.
type BoardCalendar struct {
	ID      BoardID           `json:"id"`
	Name    string            `json:"name"`
	Project ProjectID         `json:"project"` // the owner
	Owner   string            `json:"owner"`   // its name
	Online  bool              `json:"online"`
	Labels  map[string]string `json:"labels,omitempty"`

	Offers []OfferID `json:"offers,omitempty"` // by which the project may book it; none: it is its own, or only leased to it
	Allow  []string  `json:"allow,omitempty"`  // actions that it may be booked for, see package lease
	Open   []Window  `json:"open"`             // when it may be booked, as far as it is free, in order
	Booked []Booking `json:"booked"`           // by the time they begin
}

// Window is a span of time, from From up to but without Until.
type Window struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Booking is a part of a board's calendar that is taken. Of a lease that the project that asks does
// not see it says no more than when that is.
type Booking struct {
	Window
	Shared bool `json:"shared,omitempty"` // others may stand beside it

	Lease       LeaseID     `json:"lease,omitempty"`
	Name        string      `json:"name,omitempty"`
	Project     ProjectID   `json:"project,omitempty"` // who has it
	ProjectName string      `json:"project_name,omitempty"`
	User        string      `json:"user,omitempty"` // who booked
	Status      LeaseStatus `json:"status,omitempty"`
	Allow       []string    `json:"allow,omitempty"`
	Priority    int         `json:"priority,omitempty"`
	Share       bool        `json:"share,omitempty"` // of another's lease
}

// Calendar is where a program that shows calendars finds one: of the bookings of a board, or of a
// project's leases. Whoever has the address reads that calendar, and nothing else.
type Calendar struct {
	URL   string  `json:"url"`
	Board BoardID `json:"board,omitempty"`
}
