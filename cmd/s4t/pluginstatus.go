package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) pluginStatus() *cobra.Command {
	return &cobra.Command{Use: "status BOARD [PLUGIN]", Short: "Show the plugins of a board, as they are now", Example: "  s4t plugin status kitchen\n  s4t plugin status kitchen weather -o json", Args: between(1, 2), ValidArgsFunction: a.completeBoardPlugins,
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			if len(args) == 2 {
				p, err := c.BoardPlugin(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				return a.printBoardPlugin(p)
			}
			all, err := c.BoardPlugins(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printBoardPlugins(all)
		})}
}

func (a *app) printBoardPlugins(all []s4t.BoardPlugin) error {
	return printList(a, all, func(p s4t.BoardPlugin) string { return p.Plugin },
		column[s4t.BoardPlugin]{"BOARD", func(p s4t.BoardPlugin) string { return p.Board }},
		column[s4t.BoardPlugin]{"PLUGIN", func(p s4t.BoardPlugin) string { return p.Plugin }},
		column[s4t.BoardPlugin]{"VERSION", versionText},
		column[s4t.BoardPlugin]{"STATE", func(p s4t.BoardPlugin) string { return p.State }},
		column[s4t.BoardPlugin]{"SINCE", func(p s4t.BoardPlugin) string { return since(p.Since) }},
		column[s4t.BoardPlugin]{"RESTARTS", func(p s4t.BoardPlugin) string { return strconv.Itoa(p.Restarts) }},
		column[s4t.BoardPlugin]{"CPU", func(p s4t.BoardPlugin) string { return fmt.Sprintf("%.1f s", p.CPU) }},
		column[s4t.BoardPlugin]{"MEMORY", func(p s4t.BoardPlugin) string { return s4t.Bytes(uint64(max(p.Memory, 0))) }},
		column[s4t.BoardPlugin]{"PROBLEM", problemText})
}

// problemText says what stands in the way of a plugin; before it is well, what its health
// command says.
func problemText(p s4t.BoardPlugin) string {
	if p.Problem == "" && p.State == s4t.PluginStarting {
		return p.Health
	}
	return p.Problem
}

// versionText is the version that is wanted, and the one that runs where it is another.
func versionText(p s4t.BoardPlugin) string {
	if p.Running != "" && p.Running != p.Version {
		return p.Version + " (runs " + p.Running + ")"
	}
	return p.Version
}

func (a *app) printBoardPlugin(p s4t.BoardPlugin) error {
	pid, onboot, fetched := "", "no", ""
	if p.PID > 0 {
		pid = strconv.Itoa(p.PID)
	}
	if p.OnBoot {
		onboot = "yes"
	}
	if p.Fetched > 0 {
		fetched = s4t.Bytes(uint64(p.Fetched))
	}
	var params []string
	for _, k := range slices.Sorted(maps.Keys(p.Params)) {
		params = append(params, k+"="+p.Params[k])
	}
	return a.printOne(p, p.Plugin, field{"board", p.Board}, field{"plugin", p.Plugin}, field{"id", p.ID}, field{"version", versionText(p)}, field{"state", p.State}, field{"problem", p.Problem},
		field{"wanted", p.Wanted}, field{"onboot", onboot}, field{"params", strings.Join(params, " ")}, field{"since", since(p.Since)}, field{"pid", pid}, field{"restarts", strconv.Itoa(p.Restarts)},
		field{"exit", p.Exit}, field{"health", p.Health}, field{"fetched", fetched}, field{"cpu", fmt.Sprintf("%.1f s", p.CPU)}, field{"memory", s4t.Bytes(uint64(max(p.Memory, 0)))}, field{"disk", s4t.Bytes(uint64(max(p.Disk, 0)))},
		field{"unlimited", strings.Join(p.Unlimited, "; ")})
}

func (a *app) pluginLogs() *cobra.Command {
	var term time.Duration
	follow := false
	cmd := &cobra.Command{Use: "logs BOARD PLUGIN", Short: "Show what a plugin wrote; -f goes on with what it writes", Example: "  s4t plugin logs kitchen weather --since 1h\n  s4t plugin logs kitchen weather -f", Args: exactly(2), ValidArgsFunction: a.completeBoardPlugins}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if term < 0 {
			return usage(cmd, "--since %v is no time until now", term)
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if follow {
			return a.followLogs(ctx, c, args[0], args[1], term)
		}
		lines, err := c.PluginLogs(ctx, args[0], args[1], term)
		if err != nil {
			return err
		}
		if a.format != "table" {
			return printList(a, lines, func(l s4t.LogLine) string { return l.Text })
		}
		for _, l := range lines {
			fmt.Fprintln(a.stdout, logText(l))
		}
		return nil
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it writes, until interrupted")
	cmd.Flags().DurationVar(&term, "since", 0, "only lines of this `DURATION` until now (default all that the board keeps)")
	return cmd
}

// logText is a line as people read it.
func logText(l s4t.LogLine) string {
	return fmt.Sprintf("%s %-6s %s", l.At.Local().Format("2006-01-02 15:04:05.000"), oneLine(l.Stream), oneLine(l.Text))
}

// printLogLine prints one line of a log that is followed; as YAML, one document.
func (a *app) printLogLine(l s4t.LogLine) error {
	text := logText(l)
	switch a.format {
	case "json":
		b, err := json.Marshal(l)
		if err != nil {
			return s4t.Errorf(s4t.Internal, "print a line", "", "%w", err)
		}
		text = string(b)
	case "yaml":
		if err := a.printData(l); err != nil {
			return err
		}
		text = "---"
	case "name":
		text = oneLine(l.Text)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

// followLogs prints lines while they come; as JSON one object a line.
func (a *app) followLogs(ctx context.Context, c *apiclient.Client, board, plugin string, term time.Duration) error {
	s, err := c.FollowPluginLog(ctx, board, plugin, term)
	if err != nil {
		return err
	}
	defer s.Close()
	for m := range s.All() {
		switch {
		case m.Notice != nil:
			fmt.Fprintln(a.stderr, "s4t: "+oneLine(strings.TrimSuffix(fmt.Sprintf("board %s %s: %s", m.Notice.Board, m.Notice.Status, m.Notice.Detail), ": ")))
		default:
			if err := a.printLogLine(m.LogLine); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return s.Err()
}

func (a *app) completePlugins(n int) completer {
	return names(a, n, func(ctx context.Context, c *apiclient.Client) ([]s4t.Plugin, error) { return c.Plugins(ctx) }, func(p s4t.Plugin) string { return p.Name })
}

// completeBoardPlugins offers boards, then what the board has.
func (a *app) completeBoardPlugins(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeBoards(1)(cmd, args, prefix)
	}
	list := func(ctx context.Context, c *apiclient.Client) ([]s4t.BoardPlugin, error) {
		return c.BoardPlugins(ctx, args[0])
	}
	return names(a, 2, list, func(p s4t.BoardPlugin) string { return p.Plugin })(cmd, args, prefix)
}
