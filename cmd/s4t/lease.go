package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) leaseCommand() *cobra.Command {
	name := func(l s4t.Lease) string { return l.Name }
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List leases: the project's, and those of its boards", Example: "  s4t lease list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.LeaseList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Lease]{"NAME", name},
				column[s4t.Lease]{"ID", func(l s4t.Lease) string { return string(l.ID) }},
				column[s4t.Lease]{"STATUS", func(l s4t.Lease) string { return string(l.Status) }},
				column[s4t.Lease]{"BOARDS", boardsText},
				column[s4t.Lease]{"FROM", func(l s4t.Lease) string { return clock(l.From) }},
				column[s4t.Lease]{"UNTIL", func(l s4t.Lease) string { return clock(l.Until) }},
				column[s4t.Lease]{"ALLOW", func(l s4t.Lease) string { return strings.Join(l.Allow, ",") }})
		})})
	one := func(use, short, example string, do func(context.Context, *apiclient.Client, string) (s4t.Lease, error)) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Example: example, Args: exactly(1), ValidArgsFunction: a.completeLeases(1),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				l, err := do(ctx, c, args[0])
				if err != nil {
					return err
				}
				return a.printLease(l)
			})}
	}
	show := one("show LEASE", "Show a lease", "  s4t lease show night", func(ctx context.Context, c *apiclient.Client, ref string) (s4t.Lease, error) {
		return c.Lease(ctx, ref)
	})
	release := a.leaseRelease()
	var more time.Duration
	extend := one("extend LEASE --for 1h", "Have a lease end later", "  s4t lease extend night --for 1h", func(ctx context.Context, c *apiclient.Client, ref string) (s4t.Lease, error) {
		return c.ExtendLease(ctx, ref, more)
	})
	extend.Flags().DurationVar(&more, "for", 0, "longer than it was to be, by this `DURATION`")
	extend.PreRunE = func(c *cobra.Command, _ []string) error {
		if _, err := seconds(c, "for", more); err != nil || more == 0 {
			return usage(c, "say by how much: --for 1h")
		}
		return nil
	}
	return newGroup("lease", "Leases: boards that are booked", "  s4t lease create night --label kind=lamp --count 2 --for 2h\n  s4t lease release night",
		a.leaseCreate(), list, show, extend, a.leaseShare(), release, a.leaseCalendar())
}

// leaseRelease waits until the boards have nothing of the lease any more; one that is away has nothing of
// it when it comes.
func (a *app) leaseRelease() *cobra.Command {
	return &cobra.Command{Use: "release LEASE", Short: "Give boards back; what was made by the lease goes", Example: "  s4t lease release night", Args: exactly(1), ValidArgsFunction: a.completeLeases(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.ReleaseLease(ctx, args[0])
			if err != nil {
				return err
			}
			if l.Operation != "" { // of an older cloud there is none to wait for
				op, err := c.Operation(ctx, l.Operation)
				if err != nil {
					return err
				}
				if printed, err := a.await(ctx, c, op, nil); printed || err != nil {
					return err
				}
			}
			return a.printLease(l)
		})}
}

func (a *app) leaseCreate() *cobra.Command {
	var req apiclient.LeaseCreate
	var labels, allow []string
	var place placeFlags
	var from string
	var term time.Duration
	cmd := &cobra.Command{Use: "create [NAME] (--board B... | --fleet F | --count N [--label K=V]... [--near LAT,LON --within KM] [--pin GLOB]) [--from T] [--for 2h]", Short: "Book boards",
		Long: `Books boards, all or nothing: those named with --board or --fleet, or --count of those that have all labels,
are near the place and have such a pin, and fit best. They are the project's own, or offered to it (s4t board search).`,
		Example: "  s4t lease create night --board kitchen --board garden --for 2h\n  s4t lease create --label kind=lamp --count 2 --near 38.19,15.55 --within 5\n  s4t lease create --board kitchen --from 2026-12-24T18:00:00Z --for 4h", Args: between(0, 1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if req.Labels, err = parseLabels(cmd, labels); err != nil {
			return err
		}
		if req.Near, err = place.read(cmd); err != nil {
			return err
		}
		if req.Near != nil {
			req.Within = place.within
		}
		switch {
		case len(req.Boards) == 0 && req.Fleet == "" && req.Count == 0:
			return usage(cmd, "say which boards: --board B, --fleet F, or --count N with --label K=V")
		case (len(req.Boards) > 0 || req.Fleet != "") && req.Count > 0:
			return usage(cmd, "give --board and --fleet, or --count")
		}
		if from != "" {
			at, err := parseTime(cmd, "from", from)
			if err != nil {
				return err
			}
			req.From = &at
		}
		req.For, err = seconds(cmd, "for", term)
		return err
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if len(args) > 0 {
			req.Name = args[0]
		}
		req.Allow = allow
		l, err := c.CreateLease(ctx, req)
		if err != nil {
			return err
		}
		return a.printLease(l)
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	a.addFleet(cmd, &req.Fleet)
	f.StringArrayVar(&labels, "label", nil, "with --count: boards with the label `K=V`; repeat for each: all of them")
	f.IntVar(&req.Count, "count", 0, "`N` boards, those that fit best")
	f.StringVar(&req.Pin, "pin", "", "with --count: boards with a pin whose name or label is like `GLOB`, as gpio/*")
	f.StringVar(&from, "from", "", "begin at this `TIME`, like 2026-12-24T18:00:00Z (default now)")
	f.DurationVar(&term, "for", 2*time.Hour, "for this `DURATION`")
	f.IntVar(&req.Priority, "priority", 0, "leases of a lower `PRIORITY` yield")
	f.StringSliceVar(&allow, "allow", nil, "what it allows: `ACTIONS` of ssh, service, bridge, pins, commands, plugins (default what the offers do)")
	f.BoolVar(&req.Partial, "partial", false, "take the boards that are free, also where those are not all")
	place.add(cmd)
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

func (a *app) leaseShare() *cobra.Command {
	var req apiclient.LeaseShare
	var allow []string
	var until string
	cmd := &cobra.Command{Use: "share LEASE --project P [--board B]... [--allow SUBSET] [--until T]", Short: "Pass on a part of a lease to another project",
		Long: `Passes on a part of a lease to another project, which has its own lease then: no more boards,
actions or time than this one, and it ends with it.`,
		Example: "  s4t lease share night --project students --board kitchen --allow pins", Args: exactly(1), ValidArgsFunction: a.completeLeases(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if req.To == "" {
			return usage(cmd, "say to whom: --project P")
		}
		if until != "" {
			at, err := parseTime(cmd, "until", until)
			if err != nil {
				return err
			}
			req.Until = &at
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Allow = allow
		l, err := c.ShareLease(ctx, args[0], req)
		if err != nil {
			return err
		}
		return a.printLease(l)
	})
	f := cmd.Flags()
	f.StringVar(&req.To, "project", "", "name or id of the `PROJECT` that gets it")
	f.StringVar(&req.Name, "name", "", "`NAME` of the share (default the lease's)")
	f.StringArrayVar(&req.Boards, "board", nil, "this `BOARD` of the lease; repeat for each (default all)")
	f.StringSliceVar(&allow, "allow", nil, "what it allows: some `ACTIONS` of the lease (default all)")
	f.StringVar(&until, "until", "", "until this `TIME`, like 2026-12-24T18:00:00Z (default the lease's end)")
	return cmd
}

// parseTime reads a time of a flag.
func parseTime(c *cobra.Command, flag, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage(c, "--%s %q is no time: write it like 2026-12-24T18:00:00Z", flag, text)
	}
	return at, nil
}

// clock is a time as people set it.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// boardsText names the boards of a lease, as far as there is room.
func boardsText(l s4t.Lease) string {
	var names []string
	for _, b := range l.Boards[:min(len(l.Boards), 3)] {
		names = append(names, b.Name)
	}
	if more := len(l.Boards) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ",")
}

func (a *app) printLease(l s4t.Lease) error {
	next := ""
	if l.Next != nil {
		next = clock(*l.Next)
	}
	members := make([]s4t.FleetBoard, len(l.Boards))
	for i, b := range l.Boards {
		members[i] = s4t.FleetBoard{ID: b.ID, Name: b.Name}
	}
	err := a.printOne(l, l.Name, field{"name", l.Name}, field{"id", string(l.ID)}, field{"status", string(l.Status)}, field{"reason", l.Reason}, field{"project", string(l.Project)}, field{"share of", string(l.Parent)},
		field{"from", clock(l.From)}, field{"until", clock(l.Until)}, field{"free again", next}, field{"allow", strings.Join(l.Allow, ",")}, field{"priority", strconv.Itoa(l.Priority)}, field{"booked by", l.User})
	if err != nil || a.format != "table" {
		return err
	}
	return a.printMembers(members)
}

func (a *app) completeLeases(n int) completer {
	return names(a, n, func(ctx context.Context, c *apiclient.Client) ([]s4t.Lease, error) { return c.LeaseList().All(ctx) }, func(l s4t.Lease) string { return l.Name })
}

func (a *app) whoCanCommand() *cobra.Command {
	return &cobra.Command{Use: "who-can BOARD [ACTION]", Short: "Show who may do what on a board now, and by what",
		Example: "  s4t who-can kitchen\n  s4t who-can kitchen ssh", Args: between(1, 2), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			action := ""
			if len(args) > 1 {
				action = args[1]
			}
			l, err := c.WhoCan(ctx, args[0], action)
			if err != nil {
				return err
			}
			name := func(x s4t.Access) string {
				if x.Name != "" {
					return x.Name
				}
				return string(x.Project)
			}
			return printList(a, l, name,
				column[s4t.Access]{"PROJECT", name},
				column[s4t.Access]{"BY", func(x s4t.Access) string { return x.By }},
				column[s4t.Access]{"ALLOW", func(x s4t.Access) string { return strings.Join(x.Allow, ",") }},
				column[s4t.Access]{"UNTIL", func(x s4t.Access) string { return clock(x.Until) }})
		})}
}
