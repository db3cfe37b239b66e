package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) pluginCommand() *cobra.Command {
	name := func(p s4t.Plugin) string { return p.Name }
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List plugins", Example: "  s4t plugin list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.PluginList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Plugin]{"NAME", name},
				column[s4t.Plugin]{"VERSION", func(p s4t.Plugin) string { return p.Version }},
				column[s4t.Plugin]{"RUNTIME", func(p s4t.Plugin) string { return string(p.Runtime) }},
				column[s4t.Plugin]{"KIND", func(p s4t.Plugin) string { return string(p.Kind) }},
				column[s4t.Plugin]{"BOARDS", func(p s4t.Plugin) string { return strconv.Itoa(p.Boards) }},
				column[s4t.Plugin]{"CREATED", func(p s4t.Plugin) string { return since(&p.CreatedAt) }})
		})})
	show := &cobra.Command{Use: "show PLUGIN", Short: "Show a plugin, its versions and commands", Example: "  s4t plugin show weather -o json", Args: exactly(1), ValidArgsFunction: a.completePlugins(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			p, err := c.Plugin(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printPlugin(p)
		})}
	version := ""
	remove := &cobra.Command{Use: "delete PLUGIN", Short: "Delete a plugin that no board has, or one version of it", Example: "  s4t plugin delete weather\n  s4t plugin delete weather --version 1.0", Args: exactly(1), ValidArgsFunction: a.completePlugins(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			p, err := c.Plugin(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.DeletePlugin(ctx, string(p.ID), version); err != nil {
				return err
			}
			if version != "" {
				return a.printGone(p, "Version "+version+" of plugin", p.Name)
			}
			return a.printGone(p, "Plugin", p.Name)
		})}
	remove.Flags().StringVar(&version, "version", "", "only the version `V`")
	return newGroup("plugin", "Plugins: code on boards", "  s4t plugin create weather ./weather\n  s4t plugin inject weather --board kitchen --onboot\n  s4t plugin logs kitchen weather -f",
		a.pluginCreate(), pluginKeygen(), list, show, remove, a.pluginInject(), a.pluginUpgrade(),
		a.pluginAct("start", "Start a plugin on boards"), a.pluginAct("stop", "Stop a plugin on boards"), a.pluginAct("restart", "Restart a plugin on boards"), a.pluginAct("remove", "Take a plugin off boards"),
		a.pluginStatus(), a.pluginLogs())
}

func (a *app) printPlugin(p s4t.Plugin) error {
	err := a.printOne(p, p.Name, field{"name", p.Name}, field{"id", string(p.ID)}, field{"version", p.Version}, field{"runtime", string(p.Runtime)}, field{"kind", string(p.Kind)},
		field{"boards", strconv.Itoa(p.Boards)}, field{"created", since(&p.CreatedAt)})
	if err != nil || a.format != "table" {
		return err
	}
	fmt.Fprintln(a.stdout)
	err = printList(a, p.Versions, func(v s4t.PluginVersion) string { return v.Version },
		column[s4t.PluginVersion]{"VERSION", func(v s4t.PluginVersion) string { return v.Version }},
		column[s4t.PluginVersion]{"SIZE", func(v s4t.PluginVersion) string { return s4t.Bytes(uint64(max(v.Size, 0))) }},
		column[s4t.PluginVersion]{"DIGEST", func(v s4t.PluginVersion) string { return v.Digest[:min(len(v.Digest), 12)] }},
		column[s4t.PluginVersion]{"SIGNED BY", func(v s4t.PluginVersion) string { return v.Key }},
		column[s4t.PluginVersion]{"CREATED", func(v s4t.PluginVersion) string { return since(&v.CreatedAt) }})
	if err != nil || len(p.Commands) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	return printList(a, p.Commands, func(c s4t.Command) string { return c.Name },
		column[s4t.Command]{"COMMAND", func(c s4t.Command) string { return c.Name }},
		column[s4t.Command]{"TIMEOUT", func(c s4t.Command) string { return c.Timeout }},
		column[s4t.Command]{"DESCRIPTION", func(c s4t.Command) string { return c.Description }})
}

// onBoards are the flags --board and --fleet.
type onBoards struct {
	boards []string
	fleet  string

	was map[string]s4t.BoardPlugin // before it is removed there, by board
}

func (o *onBoards) add(a *app, c *cobra.Command) {
	c.Flags().StringArrayVar(&o.boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	c.Flags().StringVar(&o.fleet, "fleet", "", "all boards of the `FLEET`")
	c.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	c.RegisterFlagCompletionFunc("fleet", a.completeFleets(anyNumber))
}

func (o *onBoards) check(c *cobra.Command) error {
	if len(o.boards) == 0 && o.fleet == "" {
		return usage(c, "say which boards: --board B, once for each, or --fleet F")
	}
	return nil
}

// each does something on every board, waits until all of it is done, and prints the
// plugin on each: one object for one board, else a list. What fails on some boards
// is told of each; the first failure is the command's.
func (o *onBoards) each(ctx context.Context, a *app, c *apiclient.Client, plugin string, do func(board string) (s4t.Operation, error)) error {
	boards := slices.Clone(o.boards)
	if o.fleet != "" {
		f, err := c.Fleet(ctx, o.fleet)
		if err != nil {
			return err
		}
		for _, b := range f.Boards {
			if !slices.Contains(boards, b.Name) && !slices.Contains(boards, string(b.ID)) {
				boards = append(boards, b.Name)
			}
		}
	}
	one := len(boards) == 1 && o.fleet == ""
	var first error
	failed := func(board string, err error) {
		if first == nil {
			first = err
		}
		if !one {
			fmt.Fprintf(a.stderr, "s4t: board %s: %s\n", oneLine(board), oneLine(err.Error()))
		}
	}
	begun := map[string]s4t.Operation{}
	for _, b := range boards {
		op, err := do(b)
		if err != nil {
			failed(b, err)
			continue
		}
		begun[b] = op
	}
	all := []s4t.BoardPlugin{}
	for _, b := range boards {
		op, ok := begun[b]
		if !ok {
			continue
		}
		missing := func() string {
			p, err := c.BoardPlugin(ctx, b, plugin)
			if err != nil {
				return ""
			}
			return strings.TrimSuffix("it is "+p.State+", "+problemText(p), ", ")
		}
		if printed, err := a.await(ctx, c, op, missing); err != nil {
			failed(b, err)
			continue
		} else if printed {
			continue
		}
		p, err := c.BoardPlugin(ctx, b, plugin)
		if s4t.KindOf(err) == s4t.NotFound { // it was removed
			p, err = o.was[b], nil
			p.ID, p.Board, p.Plugin, p.Wanted, p.PluginState = op.Object, cmp.Or(p.Board, b), cmp.Or(p.Plugin, plugin), "", s4t.PluginState{State: "removed"}
		}
		if err != nil {
			failed(b, err)
			continue
		}
		all = append(all, p)
	}
	switch {
	case a.noWait || len(all) == 0 && len(boards) > 0:
		return first
	case one:
		return firstError(a.printBoardPlugin(all[0]), first)
	}
	err := a.printBoardPlugins(all)
	if err == nil && first != nil {
		err = s4t.Errorf(s4t.KindOf(first), "", "", "%d of %d boards failed; the first: %w", len(boards)-len(all), len(boards), first)
	}
	return err
}

func (a *app) pluginInject() *cobra.Command {
	var on onBoards
	var req apiclient.PluginInject
	var params []string
	onboot := false
	cmd := &cobra.Command{Use: "inject PLUGIN (--board B... | --fleet F) [--onboot] [--param K=V]... [--version V]", Short: "Put a plugin on boards, and run it",
		Long: `Puts a plugin on boards, and returns when it is healthy on all that are online. An
offline board gets it when it comes. What is there already is changed.`,
		Example: "  s4t plugin inject weather --board kitchen --onboot\n  s4t plugin inject weather --fleet lamps --param city=Messina", Args: exactly(1), ValidArgsFunction: a.completePlugins(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		req.Params, req.OnBoot = nil, nil
		for _, text := range params {
			k, v, ok := strings.Cut(text, "=")
			if !ok || k == "" {
				return usage(cmd, "--param %q is not K=V", text)
			}
			if req.Params == nil {
				req.Params = map[string]string{}
			}
			req.Params[k] = v
		}
		if cmd.Flags().Changed("onboot") {
			req.OnBoot = &onboot
		}
		return on.check(cmd)
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		return on.each(ctx, a, c, args[0], func(board string) (s4t.Operation, error) { return c.InjectPlugin(ctx, board, args[0], req) })
	})
	on.add(a, cmd)
	cmd.Flags().BoolVar(&onboot, "onboot", false, "start it when the board starts, too")
	cmd.Flags().StringArrayVar(&params, "param", nil, "parameter `K=V`; repeat for each")
	cmd.Flags().StringVar(&req.Version, "version", "", "`V` (default the newest)")
	return cmd
}

func (a *app) pluginUpgrade() *cobra.Command {
	var on onBoards
	var req apiclient.PluginInject
	cmd := &cobra.Command{Use: "upgrade PLUGIN (--board B... | --fleet F) [--version V]", Short: "Bring a plugin on boards to another version",
		Long: `Brings a plugin on boards to another version. A board keeps the old one until the new
one is healthy, and goes back to it by itself where it does not become so: then the
command fails.`,
		Example: "  s4t plugin upgrade weather --board kitchen\n  s4t plugin upgrade weather --board kitchen --version 1.0", Args: exactly(1), ValidArgsFunction: a.completePlugins(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error { return on.check(cmd) }
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		return on.each(ctx, a, c, args[0], func(board string) (s4t.Operation, error) { return c.UpgradePlugin(ctx, board, args[0], req) })
	})
	on.add(a, cmd)
	cmd.Flags().StringVar(&req.Version, "version", "", "`V` (default the newest)")
	return cmd
}

// pluginAct is start, stop, restart or remove.
func (a *app) pluginAct(verb, short string) *cobra.Command {
	var on onBoards
	cmd := &cobra.Command{Use: verb + " PLUGIN (--board B... | --fleet F)", Short: short, Example: "  s4t plugin " + verb + " weather --board kitchen", Args: exactly(1), ValidArgsFunction: a.completePlugins(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error { return on.check(cmd) }
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		on.was = map[string]s4t.BoardPlugin{}
		return on.each(ctx, a, c, args[0], func(board string) (s4t.Operation, error) {
			if verb == "remove" {
				if was, err := c.BoardPlugin(ctx, board, args[0]); err == nil {
					on.was[board] = was
				}
				return c.RemovePlugin(ctx, board, args[0])
			}
			return c.ActPlugin(ctx, board, args[0], verb)
		})
	})
	on.add(a, cmd)
	return cmd
}
