package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) offerCommand() *cobra.Command {
	name := func(o s4t.Offer) string { return o.Name }
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List offers: the project's, and those that it may book by", Example: "  s4t offer list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.OfferList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Offer]{"NAME", name},
				column[s4t.Offer]{"ID", func(o s4t.Offer) string { return string(o.ID) }},
				column[s4t.Offer]{"BOARDS", func(o s4t.Offer) string { return strconv.Itoa(len(o.Boards)) }},
				column[s4t.Offer]{"ALLOW", func(o s4t.Offer) string { return strings.Join(o.Allow, ",") }},
				column[s4t.Offer]{"MAX", func(o s4t.Offer) string { return o.Max.Duration().String() }},
				column[s4t.Offer]{"HOURS", func(o s4t.Offer) string { return o.Hours }},
				column[s4t.Offer]{"TO", toText})
		})})
	show := &cobra.Command{Use: "show OFFER", Short: "Show an offer and its boards now", Example: "  s4t offer show spare", Args: exactly(1), ValidArgsFunction: a.completeOffers(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			o, err := c.Offer(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printOffer(o)
		})}
	remove := &cobra.Command{Use: "delete OFFER", Short: "Take an offer back; leases by it go on", Example: "  s4t offer delete spare", Args: exactly(1), ValidArgsFunction: a.completeOffers(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			o, err := c.Offer(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteOffer(ctx, string(o.ID)); err != nil {
				return err
			}
			return a.printGone(o, "Offer", o.Name)
		})}
	return newGroup("offer", "Offers: boards that others may book", "  s4t offer create spare --label kind=lamp --allow ssh,pins --max 4h\n  s4t offer list",
		a.offerCreate(), list, show, remove)
}

func (a *app) offerCreate() *cobra.Command {
	var req apiclient.OfferCreate
	var labels, allow []string
	var most time.Duration
	cmd := &cobra.Command{Use: "create NAME (--board B... | --fleet F | --label K=V...) [--to PROJECT]... [--allow ACTIONS] [--max 4h] [--hours ...]", Short: "Offer boards to other projects",
		Long: `Offers boards of the project to others, which book them with s4t lease: those named with
--board or that the fleet has now, and those that have all labels when they are asked for. Without --to any project of the cloud may.`,
		Example: "  s4t offer create spare --board kitchen --board garden --to lab --max 4h\n  s4t offer create lamps --label kind=lamp --allow pins --shared\n  s4t offer create nights --label site=messina --hours \"Mon-Fri 18:00-08:00\" --zone Europe/Rome", Args: exactly(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if req.Labels, err = parseLabels(cmd, labels); err != nil {
			return err
		}
		if len(req.Boards) == 0 && req.Fleet == "" && len(req.Labels) == 0 {
			return usage(cmd, "say which boards: --board B, --fleet F or --label K=V")
		}
		req.Max, err = seconds(cmd, "max", most)
		return err
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Name, req.Allow = args[0], allow
		o, err := c.CreateOffer(ctx, req)
		if err != nil {
			return err
		}
		return a.printOffer(o)
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	a.addFleet(cmd, &req.Fleet)
	f.StringArrayVar(&labels, "label", nil, "boards with the label `K=V`; repeat for each: all of them")
	f.StringArrayVar(&req.To, "to", nil, "name or id of a `PROJECT` that may book; repeat for each (default every one)")
	f.StringSliceVar(&allow, "allow", nil, "what leases allow: `ACTIONS` of ssh, service, bridge, pins, commands, plugins (default all)")
	f.DurationVar(&most, "max", 0, "a lease is at most this `DURATION` (default a year)")
	f.StringVar(&req.Hours, "hours", "", "when leases may be, `HOURS` like \"Mon-Fri 18:00-08:00\" (default always)")
	f.StringVar(&req.Zone, "zone", "", "time `ZONE` of the hours, like Europe/Rome (default UTC)")
	f.BoolVar(&req.Shared, "shared", false, "leases of several projects stand side by side")
	f.IntVar(&req.MaxPriority, "max-priority", 0, "highest `PRIORITY` of a lease")
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

// seconds is a duration of whole seconds, as the API takes it.
func seconds(c *cobra.Command, flag string, d time.Duration) (s4t.Seconds, error) {
	if d < 0 || d%time.Second != 0 {
		return 0, usage(c, "--%s %v is not a number of seconds", flag, d)
	}
	return s4t.Seconds(d / time.Second), nil
}

// toText says whom an offer is to.
func toText(o s4t.Offer) string {
	if len(o.To) == 0 {
		return "all"
	}
	to := make([]string, len(o.To))
	for i, p := range o.To {
		to[i] = string(p)
	}
	return strings.Join(to, ",")
}

func (a *app) printOffer(o s4t.Offer) error {
	shared := "no"
	if o.Shared {
		shared = "yes"
	}
	err := a.printOne(o, o.Name, field{"name", o.Name}, field{"id", string(o.ID)}, field{"project", string(o.Project)}, field{"labels", labelText(o.Labels)}, field{"to", toText(o)},
		field{"allow", strings.Join(o.Allow, ",")}, field{"max", o.Max.Duration().String()}, field{"hours", strings.TrimSpace(o.Hours + " " + o.Zone)}, field{"shared", shared},
		field{"max priority", strconv.Itoa(o.MaxPriority)}, field{"boards", strconv.Itoa(len(o.Boards))}, field{"created", since(&o.CreatedAt)})
	if err != nil || a.format != "table" || len(o.Boards) == 0 {
		return err
	}
	return a.printMembers(o.Boards)
}

func (a *app) completeOffers(n int) completer {
	return names(a, n, func(ctx context.Context, c *apiclient.Client) ([]s4t.Offer, error) { return c.OfferList().All(ctx) }, func(o s4t.Offer) string { return o.Name })
}
