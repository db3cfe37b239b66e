package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) boardSearch() *cobra.Command {
	var req apiclient.BoardSearch
	var labels []string
	var place placeFlags
	var from, area string
	cmd := &cobra.Command{Use: "search [--fleet F] [--label K=V]... [--near LAT,LON --within KM] [--area FILE] [--pin GLOB] [--free-from T --free-for 2h]", Short: "Find boards to book: the project's, and those offered to it",
		Long:    `Finds boards that the project may book with s4t lease create: its own and those that are offered to it, with when they are free next.`,
		Example: "  s4t board search --near 38.19,15.55 --within 5 --pin 'gpio/*'\n  s4t board search --label kind=lamp --free-from 2026-12-24T18:00:00Z --free-for 2h\n  s4t board search --area harbour.geojson", Args: exactly(0)}
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
		if area != "" {
			if req.Area, err = readArea(area); err != nil {
				return err
			}
		}
		if from != "" {
			if req.From, err = parseTime(cmd, "free-from", from); err != nil {
				return err
			}
		}
		_, err = seconds(cmd, "free-for", req.For)
		return err
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
		l, err := c.SearchBoards(ctx, req)
		if err != nil {
			return err
		}
		name := func(b s4t.FoundBoard) string { return b.Name }
		return printList(a, l, name,
			column[s4t.FoundBoard]{"NAME", name},
			column[s4t.FoundBoard]{"ID", func(b s4t.FoundBoard) string { return string(b.ID) }},
			column[s4t.FoundBoard]{"ONLINE", func(b s4t.FoundBoard) string {
				if b.Online {
					return "yes"
				}
				return "no"
			}},
			column[s4t.FoundBoard]{"KM", func(b s4t.FoundBoard) string {
				if b.Kilometres == nil {
					return ""
				}
				return fmt.Sprintf("%.1f", *b.Kilometres)
			}},
			column[s4t.FoundBoard]{"FREE FROM", func(b s4t.FoundBoard) string {
				if b.FreeFrom == nil {
					return "not within a month"
				}
				return clock(*b.FreeFrom)
			}},
			column[s4t.FoundBoard]{"ALLOW", func(b s4t.FoundBoard) string { return strings.Join(b.Allow, ",") }},
			column[s4t.FoundBoard]{"LABELS", func(b s4t.FoundBoard) string { return labelText(b.Labels) }})
	})
	f := cmd.Flags()
	f.StringArrayVar(&labels, "label", nil, "boards with the label `K=V`; repeat for each: all of them")
	f.StringVar(&area, "area", "", "boards in the area of `FILE`: a GeoJSON Polygon or MultiPolygon")
	f.StringVar(&req.Pin, "pin", "", "boards with a pin whose name or label is like `GLOB`, as gpio/*")
	f.StringVar(&from, "free-from", "", "boards that are free from this `TIME` on, like 2026-12-24T18:00:00Z")
	f.DurationVar(&req.For, "free-for", 2*time.Hour, "free for this `DURATION`")
	a.addFleet(cmd, &req.Fleet)
	place.add(cmd)
	return cmd
}
