package s4t

// Calendar is where a program that shows calendars finds one: of the bookings of a board, or of a
// project's leases. Whoever has the address reads that calendar, and nothing else.
type Calendar struct {
	URL   string  `json:"url"`
	Board BoardID `json:"board,omitempty"`
}
