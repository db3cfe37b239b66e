package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t/apiclient"
)

// boardTransfer gives a board away.
func (a *app) boardTransfer() *cobra.Command {
	var to string
	var cancel bool
	cmd := &cobra.Command{Use: "transfer BOARD --to PROJECT", Short: "Let another project claim a board, with a code", Long: `Let another project claim a board, with a code.

A manager of that project claims it within seven days; until then nothing changes. With
the claim all ends that you have on it: leases, services, networks, plugins, and what is left
of them on the board. The audit of what you did stays yours.`,
		Example: "  s4t board transfer kitchen --to lab\n  s4t board transfer kitchen --cancel", Args: exactly(1), ValidArgsFunction: a.completeBoards(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if (to == "") != cancel {
			return usage(cmd, "say --to PROJECT, or --cancel")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if cancel {
			if err := c.KeepBoard(ctx, args[0]); err != nil {
				return err
			}
			b, err := c.Board(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printOne(b, b.Name, field{"Kept", b.Name})
		}
		t, err := c.TransferBoard(ctx, args[0], to)
		if err != nil {
			return err
		}
		if a.format != "table" {
			return a.printData(t)
		}
		fmt.Fprintf(a.stdout, "A manager of project %s claims board %s, until %s, with:\n\n  s4t board claim %s\n", to, t.Name, t.ExpiresAt.Local().Format("2006-01-02 15:04"), t.Code)
		if t.Leases > 0 {
			fmt.Fprintf(a.stderr, "With that %d leases of it end.\n", t.Leases)
		}
		return nil
	})
	cmd.Flags().StringVar(&to, "to", "", "the `PROJECT` that may claim it")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "nobody may any more")
	return cmd
}

// boardClaim takes a board over.
func (a *app) boardClaim() *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "claim CODE", Short: "Take over a board that another project gives to yours", Example: "  s4t board claim 7cz2l6...\n  s4t board claim 7cz2l6... --name kitchen", Args: exactly(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			b, err := c.ClaimBoard(ctx, apiclient.BoardClaim{Code: args[0], Name: name})
			if err != nil {
				return err
			}
			return a.printBoard(b)
		})}
	cmd.Flags().StringVar(&name, "name", "", "its `NAME` in your project (default the one it had)")
	return cmd
}
