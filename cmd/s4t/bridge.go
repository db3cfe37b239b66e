package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// Step 1 of the paper's Fig. 3: the user asks. Step 10 is in [app.await]: the
// user is told.

// guardFlags lift guards.
type guardFlags struct{ s4t.PortGuards }

func (g *guardFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&g.AllowAnySource, "allow-any-source", false, "any source address may come from these ports: they bridge a LAN")
	f.BoolVar(&g.AllowDHCP, "allow-dhcp", false, "a DHCP server may sit behind these ports, and leased addresses are allowed")
	f.BoolVar(&g.AllowRA, "allow-ra", false, "an IPv6 router may sit behind these ports")
	f.StringVar(&g.BridgeTo, "bridge-to", "", "put `INTERFACE` of the board, and what is behind it, into the network; implies --allow-any-source")
	f.IntVar(&g.StormLimit, "storm-limit", 0, "`N` frames/s of broadcast, multicast and unknown unicast a port (default 500)")
	f.Var((*megabits)(&g.RateLimit), "rate-limit", "at most `MBIT` megabits a second each way through a port (default: no limit)")
}

// megabits is a rate in bytes/s, written in Mbit/s.
type megabits int64

// String implements pflag.Value.
func (m *megabits) String() string { return strconv.FormatFloat(float64(*m)*8/1e6, 'f', -1, 64) }

// Set implements pflag.Value.
func (m *megabits) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0.1 && v <= 1e6) {
		return fmt.Errorf("write megabits a second from 0.1 to 1000000, for example 20")
	}
	*m = megabits(v * 1e6 / 8)
	return nil
}

// Type implements pflag.Value.
func (m *megabits) Type() string { return "MBIT" }

// lifted returns nil where every guard stays on.
func (g *guardFlags) lifted() *s4t.PortGuards {
	if g.PortGuards == (s4t.PortGuards{}) {
		return nil
	}
	return &g.PortGuards
}

func (a *app) bridgeCommand() *cobra.Command {
	show := &cobra.Command{Use: "show NAME", Short: "Show a bridge and its ports", Example: "  s4t bridge show lab -o json", Args: exactly(1), ValidArgsFunction: a.completeBridges(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			b, err := c.Bridge(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printBridge(b)
		})}
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List bridges", Example: "  s4t bridge list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.BridgeList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, func(b s4t.Bridge) string { return b.Name },
				column[s4t.Bridge]{"NAME", func(b s4t.Bridge) string { return b.Name }},
				column[s4t.Bridge]{"STATUS", func(b s4t.Bridge) string { return string(b.Status) }},
				column[s4t.Bridge]{"LAYER", func(b s4t.Bridge) string { return strconv.Itoa(b.Layer) }},
				column[s4t.Bridge]{"ENCAPSULATION", func(b s4t.Bridge) string { return string(b.Encapsulation) }},
				column[s4t.Bridge]{"ADDRESSES", func(b s4t.Bridge) string { return strings.TrimSpace(b.CIDR + " " + b.CIDR6) }},
				column[s4t.Bridge]{"BOARDS", func(b s4t.Bridge) string { return boardsOf(b) }},
				column[s4t.Bridge]{"CREATED", func(b s4t.Bridge) string { return since(&b.CreatedAt) }})
		})})
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a bridge", Example: "  s4t bridge delete lab", Args: exactly(1), ValidArgsFunction: a.completeBridges(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			b, err := c.Bridge(ctx, args[0])
			if err != nil {
				return err
			}
			op, err := c.DeleteBridge(ctx, string(b.ID))
			if err != nil {
				return err
			}
			if printed, err := a.await(ctx, c, op, nil); printed || err != nil {
				return err
			}
			return a.printGone(b, "Bridge", b.Name)
		})}
	return newGroup("bridge", "Bridges: boards on one virtual network", "  s4t bridge create lab --board kitchen --board garden\n  s4t bridge add lab --board roof",
		a.bridgeCreate(), list, show, remove, a.bridgeChange("add"), a.bridgeChange("remove"))
}

func (a *app) bridgeCreate() *cobra.Command {
	var req apiclient.BridgeCreate
	var encapsulation string
	var guards guardFlags
	cmd := &cobra.Command{Use: "create NAME (--board B... | --fleet F)", Short: "Put boards on one virtual network",
		Long: `Puts boards on one virtual network, and returns when the ports of all online
boards are up. The port of an offline board stays pending, and comes up with the
board; with --require-online it is an error instead.`,
		Example: "  s4t bridge create lab --board kitchen --board garden\n  s4t bridge create plant --board plc1 --board plc2 --cidr none --cidr6 none --allow-dhcp\n  s4t bridge create routed --board a --board b --layer 3 --cidr 10.77.0.0/24", Args: exactly(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		req.Encapsulation = s4t.Encapsulation(encapsulation)
		switch {
		case len(req.Boards) == 0 && req.Fleet == "":
			return usage(cmd, "say which boards: --board B, once for each, or --fleet F")
		case req.Layer != 2 && req.Layer != 3:
			return usage(cmd, "--layer is 2 or 3")
		case req.Encapsulation != s4t.EncapEthernet && req.Encapsulation != s4t.EncapGRE:
			return usage(cmd, "--encapsulation is ethernet or gre")
		case req.MTU != 0 && (req.MTU < s4t.MinMTU || req.MTU > s4t.MaxMTU):
			return usage(cmd, "--mtu is %d to %d", s4t.MinMTU, s4t.MaxMTU)
		}
		req.Guards = guards.lifted()
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Name = args[0]
		op, err := c.CreateBridge(ctx, req)
		if err != nil {
			return err
		}
		return a.awaitBridge(ctx, c, op)
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	a.addFleet(cmd, &req.Fleet)
	f.StringVar(&req.CIDR, "cidr", "", "IPv4 addresses `CIDR`, for example 10.77.0.0/24, or none (default chosen)")
	f.StringVar(&req.CIDR6, "cidr6", "", "IPv6 addresses `CIDR`, for example fd00:77::/64 (default none)")
	f.IntVar(&req.Layer, "layer", 2, "`N`: 2 (Ethernet) or 3 (IP)")
	f.StringVar(&encapsulation, "encapsulation", string(s4t.EncapEthernet), "`KIND`: ethernet or gre")
	f.IntVar(&req.MTU, "mtu", 0, "`BYTES` of an IP packet")
	f.BoolVar(&req.RequireOnline, "require-online", false, "fail when a board is offline")
	f.BoolVar(&req.AllowPublicCIDR, "allow-public-cidr", false, "--cidr and --cidr6 may be blocks of the Internet, which the boards can then not reach")
	guards.add(f)
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	cmd.RegisterFlagCompletionFunc("encapsulation", cobra.FixedCompletions([]string{"ethernet", "gre"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// bridgeChange is `bridge add` or `bridge remove`.
func (a *app) bridgeChange(verb string) *cobra.Command {
	var req apiclient.BridgeChange
	var guards guardFlags
	short := map[string]string{"add": "Add boards to a bridge", "remove": "Remove boards from a bridge"}[verb]
	cmd := &cobra.Command{Use: verb + " NAME (--board B... | --fleet F)", Short: short, Example: "  s4t bridge " + verb + " lab --board roof", Args: exactly(1), ValidArgsFunction: a.completeBridges()}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if len(req.Boards) == 0 && req.Fleet == "" {
			return usage(cmd, "say which boards: --board B, once for each, or --fleet F")
		}
		req.Guards = guards.lifted()
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		change := c.AddToBridge
		if verb == "remove" {
			change = c.RemoveFromBridge
		}
		op, err := change(ctx, args[0], req)
		if err != nil {
			return err
		}
		return a.awaitBridge(ctx, c, op)
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Boards, "board", nil, "name or id of a `BOARD`; repeat for each")
	a.addFleet(cmd, &req.Fleet)
	if verb == "add" {
		f.BoolVar(&req.RequireOnline, "require-online", false, "fail when a board is offline")
		guards.add(f)
	}
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

// awaitBridge waits and prints the bridge; when time is up it says which
// boards are missing.
func (a *app) awaitBridge(ctx context.Context, c *apiclient.Client, op s4t.Operation) error {
	missing := func() string {
		b, err := c.Bridge(ctx, op.Object)
		if err != nil {
			return ""
		}
		var l []string
		for _, p := range b.Ports {
			if p.Status != s4t.PortUp {
				l = append(l, strings.TrimSuffix(p.Board+" ("+p.Problem+")", " ()"))
			}
		}
		return strings.Join(l, ", ")
	}
	if printed, err := a.await(ctx, c, op, missing); printed || err != nil {
		return err
	}
	b, err := c.Bridge(ctx, op.Object)
	if err != nil {
		return err
	}
	return a.printBridge(b)
}

func (a *app) printBridge(b s4t.Bridge) error {
	err := a.printOne(b, b.Name,
		field{"name", b.Name}, field{"id", string(b.ID)}, field{"status", string(b.Status)}, field{"layer", strconv.Itoa(b.Layer)},
		field{"encapsulation", string(b.Encapsulation)}, field{"mtu", strconv.Itoa(b.MTU)}, field{"cidr", b.CIDR}, field{"cidr6", b.CIDR6},
		field{"network", string(b.Network)}, field{"created", since(&b.CreatedAt)})
	if err != nil || a.format != "table" || len(b.Ports) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	return printList(a, b.Ports, func(p s4t.Port) string { return string(p.ID) },
		column[s4t.Port]{"BOARD", func(p s4t.Port) string { return p.Board }},
		column[s4t.Port]{"STATUS", func(p s4t.Port) string { return string(p.Status) }},
		column[s4t.Port]{"INTERFACE", func(p s4t.Port) string { return p.Interface }},
		column[s4t.Port]{"ADDRESSES", func(p s4t.Port) string { return strings.Join(p.Addresses, " ") }},
		column[s4t.Port]{"MAC", func(p s4t.Port) string { return p.MAC }},
		column[s4t.Port]{"PROBLEM", func(p s4t.Port) string { return p.Problem }})
}

func boardsOf(b s4t.Bridge) string {
	var l []string
	for _, p := range b.Ports {
		l = append(l, p.Board)
	}
	return strings.Join(l, " ")
}
