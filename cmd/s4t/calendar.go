package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t/apiclient"
)

// leaseCalendar prints where a calendar program finds bookings.
func (a *app) leaseCalendar() *cobra.Command {
	var reset bool
	cmd := &cobra.Command{Use: "calendar [BOARD]", Short: "Print an address for a program that shows calendars", Long: `Print an address for a program that shows calendars (iCalendar).

Of the bookings of a board, or of the project's leases. Whoever has the address reads that
calendar, and nothing else; it is good as long as you are a user and may see the board.`,
		Example: "  s4t lease calendar\n  s4t lease calendar kitchen --reset", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeBoards(1)}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req := apiclient.CalendarCreate{Reset: reset}
		if len(args) > 0 {
			req.Board = args[0]
		}
		cal, err := c.CreateCalendar(ctx, req)
		if err != nil {
			return err
		}
		return a.printOne(cal, cal.URL, field{"Address", cal.URL})
	})
	cmd.Flags().BoolVar(&reset, "reset", false, "addresses of it that were made before are worth nothing any more")
	return cmd
}
