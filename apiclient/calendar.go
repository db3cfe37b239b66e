package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// CalendarCreate is the body of POST /v1/calendars.
type CalendarCreate struct {
	Board string `json:"board,omitempty" maxLength:"63" doc:"Name or id of a board, whose bookings it shows; without, the project's leases"`
	Reset bool   `json:"reset,omitempty" doc:"Addresses of it that were made before are worth nothing any more"`
}

// CreateCalendar makes the address of a calendar for a program that shows calendars.
func (c *Client) CreateCalendar(ctx context.Context, req CalendarCreate) (cal s4t.Calendar, err error) {
	return cal, c.do(ctx, "make the address of a calendar", "POST", path("calendars"), req, &cal)
}
