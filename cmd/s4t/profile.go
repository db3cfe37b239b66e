package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/profiletable"
)

func (a *app) boardProfile() *cobra.Command {
	return &cobra.Command{Use: "profile BOARD", Short: "Show what the owner of a board gives, and what was used of it",
		Long:    "Show what the owner of a board gives, and what was used of it.\n\nIt is set on the board: `lightning-rod profile set -h`.",
		Example: "  s4t board profile kitchen\n  s4t board profile kitchen -o json", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			p, err := c.BoardProfile(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printProfile(args[0], p)
		})}
}

func (a *app) printProfile(board string, p s4t.BoardProfile) error {
	if a.format != "table" {
		return a.printOne(p, board)
	}
	a.printTable(profiletable.Limits(p))
	fmt.Fprintln(a.stdout)
	a.printTable([][]string{{"now", profiletable.Now(p)}, {"reported", since(p.ReportedAt)}})
	if used := profiletable.Usage(p.Usage); used != nil {
		fmt.Fprintln(a.stdout)
		a.printTable(used)
	}
	return nil
}
