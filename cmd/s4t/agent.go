package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) agentCommand() *cobra.Command {
	id := func(g s4t.Agent) string { return string(g.ID) }
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List the cloud's agents", Long: "Lists the agents of the cloud, with what each has. For admins.", Example: "  s4t agent list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.AgentList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, id,
				column[s4t.Agent]{"ID", id},
				column[s4t.Agent]{"ROLE", func(g s4t.Agent) string { return g.Role }},
				column[s4t.Agent]{"STATUS", func(g s4t.Agent) string { return string(g.Status) }},
				column[s4t.Agent]{"PLACE", func(g s4t.Agent) string { return g.Place }},
				column[s4t.Agent]{"BOARDS", func(g s4t.Agent) string { return strconv.Itoa(g.Boards) }},
				column[s4t.Agent]{"NETWORKS", func(g s4t.Agent) string { return strconv.Itoa(g.Networks) }},
				column[s4t.Agent]{"SERVICES", func(g s4t.Agent) string { return strconv.Itoa(g.Services) }},
				column[s4t.Agent]{"VERSION", func(g s4t.Agent) string { return g.Version }},
				column[s4t.Agent]{"SEEN", func(g s4t.Agent) string { return since(&g.SeenAt) }})
		})})
	show := &cobra.Command{Use: "show AGENT", Short: "Show an agent", Example: "  s4t agent show tunnel-agent-1", Args: exactly(1), ValidArgsFunction: a.completeAgents(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			g, err := c.Agent(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printAgent(g)
		})}
	undrain := &cobra.Command{Use: "undrain AGENT", Short: "Let a drained agent take what is new again", Example: "  s4t agent undrain tunnel-agent-1", Args: exactly(1), ValidArgsFunction: a.completeAgents(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			g, err := c.UndrainAgent(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printAgent(g)
		})}
	return newGroup("agent", "The cloud's agents, for admins", "  s4t agent list\n  s4t agent drain tunnel-agent-1 --wait", list, show, a.agentDrain(), undrain)
}

func (a *app) agentDrain() *cobra.Command {
	wait := false
	cmd := &cobra.Command{Use: "drain AGENT", Short: "Have an agent give up what it has",
		Long: `Has an agent take nothing new, and move what it has to others: boards' sessions at most
500 a second, networks and public ports some at a time. Networks go on carrying frames, boards
stay online. Networks with an uplink or a GRE endpoint on the agent's host stay there.
With --wait it returns when the agent has nothing any more, within --timeout.`,
		Example: "  s4t agent drain wamp-agent-2\n  s4t agent drain tunnel-agent-1 --wait --timeout 10m", Args: exactly(1), ValidArgsFunction: a.completeAgents()}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		g, err := c.DrainAgent(ctx, args[0])
		if err == nil && wait {
			ctx, cancel := context.WithTimeout(ctx, a.timeout)
			defer cancel()
			last := ""
			g, err = c.WaitDrained(ctx, string(g.ID), func(now s4t.Agent) {
				if line := fmt.Sprintf("%s: %d boards, %d networks, %d services left", now.ID, now.Boards, now.Networks, now.Services); line != last {
					last = line
					fmt.Fprintln(a.stderr, line)
				}
			})
		}
		if err != nil {
			return err
		}
		return a.printAgent(g)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has nothing any more, and say on standard error what is left")
	return cmd
}

// completeAgents completes the id of one agent.
func (a *app) completeAgents() cobra.CompletionFunc {
	return names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Agent, error) { return c.Agents(ctx) }, func(g s4t.Agent) string { return string(g.ID) })
}

func (a *app) printAgent(g s4t.Agent) error {
	return a.printOne(g, string(g.ID), field{"id", string(g.ID)}, field{"role", g.Role}, field{"status", string(g.Status)}, field{"place", g.Place}, field{"url", g.URL}, field{"version", g.Version},
		field{"boards", strconv.Itoa(g.Boards)}, field{roomOf(g), strconv.Itoa(g.Room)}, field{"networks", strconv.Itoa(g.Networks)}, field{"of them fixed", strconv.Itoa(g.Fixed)}, field{"services", strconv.Itoa(g.Services)},
		field{"changes behind", strconv.FormatInt(g.Lag, 10)}, field{"seen", since(&g.SeenAt)}, field{"since", since(&g.Since)})
}

// roomOf names what an agent has room for.
func roomOf(g s4t.Agent) string {
	if g.Role == "wamp-agent" {
		return "boards at most"
	}
	return "public ports at most"
}
