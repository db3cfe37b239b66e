package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// fleetToken is `s4t fleet token`.
func (a *app) fleetToken() *cobra.Command {
	id := func(t s4t.FleetToken) string { return string(t.ID) }
	var req apiclient.FleetTokenCreate
	var life time.Duration
	create := &cobra.Command{Use: "create FLEET [--count N] [--expires 24h]", Short: "Make a join string for many boards, and show it once",
		Long: `Makes a join string with which many boards join: each becomes a board of the project and
a member of the fleet. A board is named by ` + "`lightning-rod join --name`" + `, else as its host.`,
		Example: "  s4t fleet token create lamps --count 200 --expires 24h", Args: exactly(1), ValidArgsFunction: a.completeFleets(1)}
	create.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case req.Count < 1 || req.Count > s4t.MaxFleetBoards:
			return usage(create, "--count %d is not between 1 and %d", req.Count, s4t.MaxFleetBoards)
		case life < time.Second || life > s4t.MaxFleetTokenLife:
			return usage(create, "--expires %v is not between 1s and %v", life, s4t.MaxFleetTokenLife)
		}
		req.Expires = s4t.Seconds(life / time.Second)
		return nil
	}
	create.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		t, err := c.CreateFleetToken(ctx, args[0], req)
		if err != nil {
			return err
		}
		if a.format != "table" {
			return a.printOne(t, t.Join)
		}
		_, err = fmt.Fprintf(a.stdout, "At most %d boards join fleet %s with it, until %s. On each, as root:\n  lightning-rod join %s\n", t.Count, oneLine(t.FleetName), t.ExpiresAt.Local().Format(time.DateTime), oneLine(t.Join))
		return err
	})
	create.Flags().IntVar(&req.Count, "count", s4t.DefaultFleetJoins, "`N` boards may join with it")
	create.Flags().DurationVar(&life, "expires", s4t.DefaultFleetTokenFor, "it is good for this `DURATION`")
	list := a.withLimit(&cobra.Command{Use: "list FLEET", Short: "List the tokens of a fleet", Example: "  s4t fleet token list lamps", Args: exactly(1), ValidArgsFunction: a.completeFleets(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.FleetTokenList(args[0]).First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, id,
				column[s4t.FleetToken]{"ID", id},
				column[s4t.FleetToken]{"JOINED", func(t s4t.FleetToken) string { return strconv.Itoa(t.Used) + " of " + strconv.Itoa(t.Count) }},
				column[s4t.FleetToken]{"EXPIRES", func(t s4t.FleetToken) string { return t.ExpiresAt.Local().Format(time.DateTime) }},
				column[s4t.FleetToken]{"BY", func(t s4t.FleetToken) string { return t.User }},
				column[s4t.FleetToken]{"CREATED", func(t s4t.FleetToken) string { return since(&t.CreatedAt) }})
		})})
	revoke := &cobra.Command{Use: "revoke FLEET ID", Short: "End a token; boards that joined with it stay", Example: "  s4t fleet token revoke lamps 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(2), ValidArgsFunction: a.completeFleets(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			if err := c.RevokeFleetToken(ctx, args[0], args[1]); err != nil {
				return err
			}
			return a.printGone(s4t.FleetToken{ID: s4t.TokenID(args[1])}, "Token", args[1])
		})}
	return newGroup("token", "Fleet tokens: join strings for many boards", "  s4t fleet token create lamps --count 200", create, list, revoke)
}
