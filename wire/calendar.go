package wire

// Methods of the conductor: calendars that other programs subscribe to.
const (
	MethodCalendarCreate = "calendar.create" // CalendarCreate -> s4t.Calendar
	MethodCalendarRead   = "calendar.read"   // CalendarRead -> CalendarText; nobody's but the token's
)

// CalendarCreate makes a token for a calendar: of the bookings of a board, or of the project's leases.
type CalendarCreate struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board,omitempty"` // name or id
	Reset  bool   `json:"reset,omitempty"` // those that were made of it before end
}

// CalendarRead reads a calendar with its token.
type CalendarRead struct {
	Token string `json:"token"`
	Board string `json:"board,omitempty"` // id, of which the token has to be
}

// CalendarText is a calendar, as iCalendar.
type CalendarText struct {
	Text string `json:"text"`
}
