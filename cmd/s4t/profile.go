package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
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
	limit := func(text string) string {
		if text == "" {
			return "no limit"
		}
		return text
	}
	fields := []field{
		{"CPU", limit(p.CPU)}, {"Memory", limit(p.Memory)}, {"Disk", limit(p.Disk)}, {"Bandwidth", limit(p.Bandwidth)},
		{"Hours", strings.TrimSpace(limit(p.Hours) + " " + p.Zone)}, {"Now", profileNow(p)},
	}
	for _, what := range slices.Sorted(maps.Keys(p.Enforced)) {
		fields = append(fields, field{"Enforced", what + ": " + p.Enforced[what]})
	}
	for _, u := range p.Usage {
		fields = append(fields, field{"Used", fmt.Sprintf("by %s since %s: %.1f s of the processor, %.0f byte-hours of memory, %d bytes received, %d sent, %d samples, %d commands",
			u.Project, u.Since.Local().Format(time.DateTime), u.CPUSeconds, u.MemoryHours, u.BytesReceived, u.BytesSent, u.Samples, u.Commands)})
	}
	return a.printOne(p, board, append(fields, field{"Reported", since(p.ReportedAt)})...)
}

// profileNow says whether others may use the board.
func profileNow(p s4t.BoardProfile) string {
	switch {
	case p.Open && p.Closing != nil:
		return "open, closes at " + p.Closing.Local().Format(time.DateTime)
	case p.Open && p.ChangesAt != nil:
		return "open until " + p.ChangesAt.Local().Format(time.DateTime)
	case p.Open:
		return "open"
	case p.ChangesAt != nil:
		return "closed until " + p.ChangesAt.Local().Format(time.DateTime)
	}
	return "closed: the board does not know the time"
}
