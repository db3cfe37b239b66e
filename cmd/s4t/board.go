package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

func (a *app) boardCommand() *cobra.Command {
	show := &cobra.Command{Use: "show BOARD", Short: "Show a board", Example: "  s4t board show kitchen\n  s4t board show kitchen -o json", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			b, err := c.Board(ctx, args[0])
			if err != nil {
				return err
			}
			return a.showBoard(ctx, c, b)
		})}
	remove := &cobra.Command{Use: "delete BOARD", Short: "Delete a board with its ports and services", Example: "  s4t board delete kitchen", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			b, err := c.Board(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteBoard(ctx, string(b.ID)); err != nil {
				return err
			}
			return a.printGone(b, "Board", b.Name)
		})}
	return newGroup("board", "Boards: create, watch, change", "  s4t board create kitchen --label room=kitchen\n  s4t board list --status online",
		a.boardCreate(), a.boardList(), a.boardSearch(), show, a.boardUpdate(), remove, a.boardWait(), a.boardProfile(), a.boardStatus(), a.boardOutages(), a.boardPlaces(), a.boardTransfer(), a.boardClaim())
}

func (a *app) boardCreate() *cobra.Command {
	var req apiclient.BoardCreate
	var labels []string
	var location string
	var mobile bool
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a board, and show the line that joins it",
		Example: "  s4t board create kitchen\n  s4t board create roof --type rpi4 --label room=roof --location 38.19,15.55,120", Args: exactly(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if req.Labels, err = parseLabels(cmd, labels); err != nil {
			return err
		}
		req.Location, err = place(cmd, location, mobile)
		return err
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Name = args[0]
		b, err := c.CreateBoard(ctx, req)
		if err != nil {
			return err
		}
		if a.format != "table" {
			return a.printBoard(b)
		}
		a.printJoin(b)
		return nil
	})
	f := cmd.Flags()
	f.StringVar(&req.Type, "type", "", "`TYPE` of hardware, for people")
	f.StringArrayVar(&labels, "label", nil, "`K=V`; may be repeated")
	f.StringVar(&location, "location", "", "`LAT,LON[,ALT]` in degrees and metres")
	f.BoolVar(&mobile, "mobile", false, "it moves: --location is where it was last")
	return cmd
}

func (a *app) boardList() *cobra.Command {
	var labels []string
	var status, query, fleet string
	var leased bool
	cmd := &cobra.Command{Use: "list", Short: "List boards", Example: "  s4t board list\n  s4t board list --status online --label room=kitchen -o name\n  s4t board list --query 'status:offline seen:>1d !label:site=messina'\n  s4t board list --leased", Args: exactly(0)}
	var want map[string]string
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if status != "" && !slices.Contains(boardStatuses, status) {
			return usage(cmd, "--status is %s", strings.Join(boardStatuses, ", "))
		}
		want, err = parseLabels(cmd, labels)
		return err
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
		list := c.FleetBoardList(fleet, want, s4t.BoardStatus(status), query)
		if leased {
			list = c.LeasedBoardList(want, s4t.BoardStatus(status), query)
		}
		l, err := list.First(ctx, a.limit)
		if err != nil {
			return err
		}
		columns := []column[s4t.Board]{
			{"NAME", func(b s4t.Board) string { return b.Name }},
			{"STATUS", func(b s4t.Board) string { return string(b.Status) }},
			{"TYPE", func(b s4t.Board) string { return b.Type }},
			{"LABELS", func(b s4t.Board) string { return labelText(b.Labels) }},
			{"LAST SEEN", func(b s4t.Board) string { return lastSeen(b) }},
			{"PROBLEMS", func(b s4t.Board) string { return strings.Join(b.Problems, "; ") }},
		}
		if leased {
			columns = slices.Insert(columns, 2,
				column[s4t.Board]{"LEASE", func(b s4t.Board) string { return b.Lease.Name }},
				column[s4t.Board]{"UNTIL", func(b s4t.Board) string { return clock(b.Lease.Until) }},
				column[s4t.Board]{"ALLOW", func(b s4t.Board) string { return strings.Join(b.Lease.Allow, ",") }})
		}
		return printList(a, l, func(b s4t.Board) string { return b.Name }, columns...)
	})
	cmd.Flags().StringArrayVar(&labels, "label", nil, "`K=V`; may be repeated: boards with all of them")
	cmd.Flags().StringVar(&status, "status", "", "`STATUS`: online, offline or registered")
	cmd.Flags().BoolVar(&leased, "leased", false, "instead of the project's own boards those that are leased to it now")
	cmd.Flags().StringVar(&query, "query", "", "`WORDS` that find boards, as in the dashboard: kitchen, status:offline, seen:>1d, label:site=messina, !type:yun, bridge:lab, ...")
	a.addFleet(cmd, &fleet)
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(boardStatuses, cobra.ShellCompDirectiveNoFileComp))
	return a.withLimit(cmd)
}

// boardStatuses are the values of --status.
var boardStatuses = []string{string(s4t.BoardOnline), string(s4t.BoardOffline), string(s4t.BoardRegistered)}

func (a *app) boardUpdate() *cobra.Command {
	var name, kind, location string
	var labels []string
	var mobile bool
	var req apiclient.BoardUpdate
	cmd := &cobra.Command{Use: "update BOARD", Short: "Change a board's name, type, labels or location, or make a new join string",
		Example: "  s4t board update kitchen --name cellar --label room=cellar\n  s4t board update kitchen --new-code\n  s4t board update kitchen --new-code --replace", Args: exactly(1), ValidArgsFunction: a.completeBoards(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		f := cmd.Flags()
		if f.Changed("name") {
			req.Name = &name
		}
		if f.Changed("type") {
			req.Type = &kind
		}
		if req.Labels, err = parseLabels(cmd, labels); err != nil {
			return err
		}
		if req.Location, err = place(cmd, location, mobile); err != nil {
			return err
		}
		if req.Replace && !req.NewCode {
			return usage(cmd, "--replace goes with --new-code")
		}
		if req.Name == nil && req.Type == nil && req.Labels == nil && req.Location == nil && !req.NewCode {
			return usage(cmd, "say what to change: --name, --type, --label, --location or --new-code")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		b, err := c.UpdateBoard(ctx, args[0], req)
		if err != nil {
			return err
		}
		if req.NewCode && a.format == "table" {
			a.printJoin(b)
			return nil
		}
		return a.printBoard(b)
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "new `NAME`")
	f.StringVar(&kind, "type", "", "new `TYPE`")
	f.StringArrayVar(&labels, "label", nil, "`K=V`; may be repeated: the new set, whole")
	f.StringVar(&location, "location", "", "`LAT,LON[,ALT]` in degrees and metres")
	f.BoolVar(&mobile, "mobile", false, "it moves: --location is where it was last")
	f.BoolVar(&req.NewCode, "new-code", false, "make a new join string, for a board that is not enrolled")
	f.BoolVar(&req.Replace, "replace", false, "with --new-code, also for an enrolled board whose state is lost: its key ends when the new line is used; ports and services stay")
	return cmd
}

// printJoin prints the line that joins a board.
func (a *app) printJoin(b s4t.Board) {
	good := ""
	if b.CodeExpiresAt != nil {
		good = ", until " + until(b.CodeExpiresAt)
	}
	fmt.Fprintf(a.stdout, "Board %s is %s (%s).\nPaste this on the board; it works once%s. Virtual networks need root there: put sudo before it.\n\nlightning-rod join %s\n",
		oneLine(b.Name), oneLine(string(b.Status)), b.ID, good, oneLine(b.Join))
}

func (a *app) boardWait() *cobra.Command {
	status := string(s4t.BoardOnline)
	cmd := &cobra.Command{Use: "wait BOARD --status online", Short: "Wait until a board has a status", Example: "  s4t board wait kitchen --status online --timeout 30s", Args: exactly(1), ValidArgsFunction: a.completeBoards(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(boardStatuses, status) {
			return usage(cmd, "--status is %s", strings.Join(boardStatuses, ", "))
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		b, err := c.WaitBoard(ctx, args[0], s4t.BoardStatus(status))
		if err != nil {
			return err
		}
		return a.printBoard(b)
	})
	cmd.Flags().StringVar(&status, "status", status, "`STATUS`: online, offline or registered")
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(boardStatuses, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// printBoard prints a board, and more fields about it in the table.
func (a *app) printBoard(b s4t.Board, more ...field) error {
	var location string
	if l := b.Location; l != nil {
		location = whereText(*l)
	}
	generation := strconv.FormatInt(b.Generation, 10)
	if b.AppliedGeneration != b.Generation {
		generation += fmt.Sprintf(" (%d applied)", b.AppliedGeneration)
	}
	i := b.Info
	return a.printOne(b, b.Name, append([]field{
		{"name", b.Name}, {"id", string(b.ID)}, {"status", string(b.Status)}, {"type", b.Type},
		{"labels", labelText(b.Labels)}, {"location", location}, {"last seen", lastSeen(b)}, {"generation", generation},
		{"system", strings.Join(strings.Fields(i.OS+" "+i.Arch+" "+i.Kernel), " ")}, {"hostname", i.Hostname}, {"comes from", i.PublicAddress}, {"lightning-rod", i.Version}, {"terminal of", i.Terminal},
		{"problems", strings.Join(b.Problems, "; ")}, {"code expires", until(b.CodeExpiresAt)}, {"created", since(&b.CreatedAt)}}, more...)...)
}

// until is a time to come, in words that people read; empty for none.
func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// lastSeen of a board that is online is of no interest.
func lastSeen(b s4t.Board) string {
	if b.Status == s4t.BoardOnline {
		return "now"
	}
	return since(b.LastSeen)
}

func labelText(m map[string]string) string {
	var l []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, k+"="+m[k])
	}
	return strings.Join(l, " ")
}

// parseLabels reads --label flags; none gives nil.
func parseLabels(c *cobra.Command, flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, f := range flags {
		k, v, ok := strings.Cut(f, "=")
		if !ok || k == "" {
			return nil, usage(c, "--label %q is not K=V", f)
		}
		m[k] = v
	}
	return m, nil
}

// parseLocation reads LAT,LON[,ALT], the value of a flag; an empty text gives nil.
func parseLocation(c *cobra.Command, flag, text string) (*s4t.Location, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, usage(c, "--%s %q is not LAT,LON[,ALT]", flag, text)
	}
	var n [3]float64
	for i, p := range parts {
		f, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil {
			return nil, usage(c, "--%s %q is not LAT,LON[,ALT]", flag, text)
		}
		n[i] = f
	}
	l := s4t.Location{Latitude: n[0], Longitude: n[1], Altitude: n[2]}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return &l, nil
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor BOARD", Short: "Say what stands between a board and what it should do", Example: "  s4t doctor kitchen", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			r, err := c.DoctorBoard(ctx, args[0])
			if err != nil {
				return err
			}
			if a.format == "json" || a.format == "yaml" {
				return a.printData(r)
			}
			if a.format == "table" {
				io.WriteString(a.stdout, oneLine(r.Board)+" is "+paint(string(r.Status), a.colour())+"\n")
				if len(r.Findings) == 0 {
					return nil
				}
			}
			return printList(a, r.Findings, func(f wire.Finding) string { return f.Check },
				column[wire.Finding]{"LEVEL", func(f wire.Finding) string { return f.Level }},
				column[wire.Finding]{"CHECK", func(f wire.Finding) string { return f.Check }},
				column[wire.Finding]{"CAUSE", func(f wire.Finding) string {
					if !f.Certain && f.Level != "ok" {
						return "likely: " + f.Cause
					}
					return f.Cause
				}},
				column[wire.Finding]{"CURE", func(f wire.Finding) string { return f.Cure }})
		})}
}
