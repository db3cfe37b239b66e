package wire

import (
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: what is lent.
const (
	MethodBookingList  = "booking.list"  // BookingList -> List[s4t.BoardCalendar]
	MethodOfferCreate  = "offer.create"  // OfferCreate -> s4t.Offer
	MethodOfferList    = "offer.list"    // ListRequest -> List[s4t.Offer]
	MethodOfferGet     = "offer.get"     // RefRequest -> s4t.Offer
	MethodOfferDelete  = "offer.delete"  // RefRequest -> Empty
	MethodLeaseCreate  = "lease.create"  // LeaseCreate -> s4t.Lease
	MethodLeaseList    = "lease.list"    // ListRequest -> List[s4t.Lease]
	MethodLeaseGet     = "lease.get"     // RefRequest -> s4t.Lease
	MethodLeaseExtend  = "lease.extend"  // LeaseExtend -> s4t.Lease
	MethodLeaseRelease = "lease.release" // RefRequest -> s4t.Lease
	MethodLeaseShare   = "lease.share"   // LeaseShare -> s4t.Lease
	MethodWhoCan       = "board.who_can" // WhoCan -> List[s4t.Access]
	MethodBoardSearch  = "board.search"  // BoardSearch -> List[s4t.FoundBoard]
)

// BookingList asks for the calendars of the boards that the caller's project owns, may book, or has
// booked in the time.
type BookingList struct {
	Caller Caller            `json:"caller"`
	From   *time.Time        `json:"from,omitempty"`  // nil: now
	Until  *time.Time        `json:"until,omitempty"` // nil: a week after From
	Labels map[string]string `json:"labels,omitempty"`
	Page   Page              `json:"page,omitzero"`
}

// OfferCreate offers boards.
type OfferCreate struct {
	Caller      Caller            `json:"caller"`
	Name        string            `json:"name"`
	Boards      []string          `json:"boards,omitempty"` // names or ids
	Fleet       string            `json:"fleet,omitempty"`  // name or id: its boards now, besides those that are named
	Labels      map[string]string `json:"labels,omitempty"`
	To          []string          `json:"to,omitempty"`    // names or ids of projects; none: every one
	Allow       []string          `json:"allow,omitempty"` // none: everything
	Max         s4t.Seconds       `json:"max_seconds,omitempty"`
	Hours       string            `json:"hours,omitempty"`
	Zone        string            `json:"zone,omitempty"`
	Shared      bool              `json:"shared,omitempty"`
	MaxPriority int               `json:"max_priority,omitempty"`
}

// LeaseCreate books boards: those that are named, or Count of those that match, all or
// nothing.
type LeaseCreate struct {
	Caller   Caller            `json:"caller"`
	Name     string            `json:"name,omitempty"` // empty: one is made
	Boards   []string          `json:"boards,omitempty"`
	Fleet    string            `json:"fleet,omitempty"` // name or id: its boards now, besides those that are named
	Labels   map[string]string `json:"labels,omitempty"`
	Count    int               `json:"count,omitempty"`
	Near     *s4t.Location     `json:"near,omitempty"`
	Within   float64           `json:"within_km,omitempty"`
	Pin      string            `json:"pin,omitempty"`  // with Count: boards with a pin whose name or label is like that, see [path.Match]
	From     *time.Time        `json:"from,omitempty"` // nil: now
	For      s4t.Seconds       `json:"for_seconds,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Allow    []string          `json:"allow,omitempty"` // none: what the offers allow
	Partial  bool              `json:"partial,omitempty"`
}

// LeaseExtend moves the end of a lease.
type LeaseExtend struct {
	Caller Caller      `json:"caller"`
	Ref    string      `json:"ref"`
	For    s4t.Seconds `json:"for_seconds"` // longer than it was to be
}

// LeaseShare passes on a part of a lease to another project.
type LeaseShare struct {
	Caller Caller     `json:"caller"`
	Ref    string     `json:"ref"`
	Name   string     `json:"name,omitempty"`
	To     string     `json:"to"` // name or id of a project
	Boards []string   `json:"boards,omitempty"`
	Allow  []string   `json:"allow,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// BoardSearch finds boards that the caller's project may book: its own and those offered to it.
type BoardSearch struct {
	Caller Caller            `json:"caller"`
	Labels map[string]string `json:"labels,omitempty"`
	Fleet  string            `json:"fleet,omitempty"` // name or id: boards of it
	Near   *s4t.Location     `json:"near,omitempty"`
	Within float64           `json:"within_km,omitempty"`
	Area   json.RawMessage   `json:"area,omitempty"`        // GeoJSON, see [geo.ParseArea]
	Pin    string            `json:"pin,omitempty"`         // a pattern of names or labels of pins, see [path.Match]
	From   *time.Time        `json:"from,omitempty"`        // free from then on; nil: whenever
	For    s4t.Seconds       `json:"for_seconds,omitempty"` // free for so long
}

// WhoCan asks who may do what on a board.
type WhoCan struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"`
	Action string `json:"action,omitempty"` // empty: any
}
