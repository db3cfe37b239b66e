package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) fleetCommand() *cobra.Command {
	name := func(f s4t.Fleet) string { return f.Name }
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List fleets", Example: "  s4t fleet list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.FleetList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Fleet]{"NAME", name},
				column[s4t.Fleet]{"BOARDS", func(f s4t.Fleet) string { return strconv.Itoa(len(f.Boards)) }},
				column[s4t.Fleet]{"LABELS", func(f s4t.Fleet) string { return labelText(f.Labels) }},
				column[s4t.Fleet]{"PLACE", placeText},
				column[s4t.Fleet]{"CREATED", func(f s4t.Fleet) string { return since(&f.CreatedAt) }})
		})})
	show := &cobra.Command{Use: "show FLEET", Short: "Show a fleet and its boards now", Example: "  s4t fleet show lamps", Args: exactly(1), ValidArgsFunction: a.completeFleets(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			f, err := c.Fleet(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printFleet(f)
		})}
	remove := &cobra.Command{Use: "delete FLEET", Short: "Delete a fleet; its boards stay", Example: "  s4t fleet delete lamps", Args: exactly(1), ValidArgsFunction: a.completeFleets(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			f, err := c.Fleet(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteFleet(ctx, string(f.ID)); err != nil {
				return err
			}
			return a.printGone(f, "Fleet", f.Name)
		})}
	return newGroup("fleet", "Fleets: sets of boards, by name, label or place", "  s4t fleet create lamps --label kind=lamp\n  s4t command run --fleet lamps blink times=3",
		a.fleetCreate(), list, show, a.fleetUpdate(), remove, a.fleetToken(), a.fleetRollout())
}

// placeFlags are --near and --within.
type placeFlags struct {
	near   string
	within float64
}

func (p *placeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.near, "near", "", "boards near `LAT,LON`, in degrees")
	c.Flags().Float64Var(&p.within, "within", s4t.DefaultWithin, "with --near: at most `KM` from there")
}

// read is the place, or nil.
func (p *placeFlags) read(c *cobra.Command) (*s4t.Location, error) {
	l, err := parseLocation(c, "near", p.near)
	if err == nil && !(p.within > 0 && p.within <= s4t.MaxWithin) {
		err = usage(c, "--within %v is not between 0 and %d kilometres", p.within, s4t.MaxWithin)
	}
	return l, err
}

func (a *app) fleetCreate() *cobra.Command {
	var req apiclient.FleetCreate
	var labels []string
	var place placeFlags
	cmd := &cobra.Command{Use: "create NAME [--board B]... [--label K=V]... [--near LAT,LON --within KM]", Short: "Make a set of boards",
		Long: `Makes a set of boards: those named with --board, and those that have all labels and
are near the place. Who is a member by label or place is found each time the fleet is used.`,
		Example: "  s4t fleet create lamps --label kind=lamp\n  s4t fleet create harbour --near 38.19,15.55 --within 2\n  s4t fleet create two --board kitchen --board garden", Args: exactly(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if req.Labels, err = parseLabels(cmd, labels); err != nil {
			return err
		}
		if req.Near, err = place.read(cmd); err != nil {
			return err
		}
		if req.Near != nil {
			req.Within = place.within
		} else if cmd.Flags().Changed("within") {
			return usage(cmd, "--within needs --near LAT,LON")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Name = args[0]
		f, err := c.CreateFleet(ctx, req)
		if err != nil {
			return err
		}
		return a.printFleet(f)
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	f.StringArrayVar(&labels, "label", nil, "boards with the label `K=V`; repeat for each: all of them")
	place.add(cmd)
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

func (a *app) fleetUpdate() *cobra.Command {
	var req apiclient.FleetUpdate
	var name string
	var boards, labels []string
	var noBoards, noLabels bool
	var place placeFlags
	cmd := &cobra.Command{Use: "update FLEET", Short: "Change a fleet's name, boards, labels or place",
		Example: "  s4t fleet update lamps --name lights\n  s4t fleet update lamps --label kind=lamp --label room=hall\n  s4t fleet update harbour --anywhere", Args: exactly(1), ValidArgsFunction: a.completeFleets(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		changed := cmd.Flags().Changed
		req = apiclient.FleetUpdate{Anywhere: req.Anywhere}
		if changed("name") {
			req.Name = &name
		}
		if changed("board") || noBoards {
			boards = append([]string{}, boards...)
			req.Boards = &boards
		}
		if changed("label") || noLabels {
			m, err := parseLabels(cmd, labels)
			if err != nil {
				return err
			}
			if m == nil {
				m = map[string]string{}
			}
			req.Labels = &m
		}
		if req.Near, err = place.read(cmd); err != nil {
			return err
		}
		if changed("within") {
			req.Within = &place.within
		}
		if req == (apiclient.FleetUpdate{}) {
			return usage(cmd, "say what to change: --name, --board, --no-boards, --label, --no-labels, --near, --within or --anywhere")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		f, err := c.UpdateFleet(ctx, args[0], req)
		if err != nil {
			return err
		}
		return a.printFleet(f)
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "new `NAME`")
	f.StringArrayVar(&boards, "board", nil, "who is named: this `BOARD`; repeat for each, all of them")
	f.BoolVar(&noBoards, "no-boards", false, "nobody is named any more")
	f.StringArrayVar(&labels, "label", nil, "the labels that count: `K=V`; repeat for each, all of them")
	f.BoolVar(&noLabels, "no-labels", false, "labels do not count any more")
	f.BoolVar(&req.Anywhere, "anywhere", false, "the place does not count any more")
	place.add(cmd)
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

func (a *app) printFleet(f s4t.Fleet) error {
	err := a.printOne(f, f.Name, field{"name", f.Name}, field{"id", string(f.ID)}, field{"labels", labelText(f.Labels)}, field{"place", placeText(f)},
		field{"boards", strconv.Itoa(len(f.Boards))}, field{"created", since(&f.CreatedAt)})
	if err != nil || a.format != "table" || len(f.Boards) == 0 {
		return err
	}
	return a.printMembers(f.Boards)
}

// printMembers prints boards below what they are of.
func (a *app) printMembers(boards []s4t.FleetBoard) error {
	fmt.Fprintln(a.stdout)
	name := func(b s4t.FleetBoard) string { return b.Name }
	return printList(a, boards, name, column[s4t.FleetBoard]{"BOARD", name}, column[s4t.FleetBoard]{"ID", func(b s4t.FleetBoard) string { return string(b.ID) }})
}

// placeText says where a fleet is.
func placeText(f s4t.Fleet) string {
	if f.Near == nil {
		return ""
	}
	return fmt.Sprintf("within %g km of %g,%g", f.Within, f.Near.Latitude, f.Near.Longitude)
}

// fleetOf returns the ids of the boards of a fleet: names would be ambiguous to who
// sees several projects.
func fleetOf(ctx context.Context, c *apiclient.Client, ref string) ([]string, error) {
	f, err := c.Fleet(ctx, ref)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, b := range f.Boards {
		ids = append(ids, string(b.ID))
	}
	return ids, nil
}

func (a *app) completeFleets(n int) completer {
	return names(a, n, func(ctx context.Context, c *apiclient.Client) ([]s4t.Fleet, error) { return c.Fleets(ctx) }, func(f s4t.Fleet) string { return f.Name })
}
