package main

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) networkCommand() *cobra.Command {
	name := func(n s4t.Network) string { return n.Name }
	show := &cobra.Command{Use: "show NETWORK", Short: "Show a network", Example: "  s4t network show lab", Args: exactly(1),
		ValidArgsFunction: a.completeNetworks(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			n, err := c.Network(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printNetwork(n)
		})}
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List networks", Example: "  s4t network list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.NetworkList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Network]{"NAME", name},
				column[s4t.Network]{"ID", func(n s4t.Network) string { return string(n.ID) }},
				column[s4t.Network]{"LAYER", func(n s4t.Network) string { return strconv.Itoa(n.Layer) }},
				column[s4t.Network]{"ENCAPSULATION", func(n s4t.Network) string { return string(n.Encapsulation) }},
				column[s4t.Network]{"MTU", func(n s4t.Network) string { return strconv.Itoa(n.MTU) }},
				column[s4t.Network]{"SUBNETS", subnetsOf},
				column[s4t.Network]{"TUNNEL AGENT", func(n s4t.Network) string { return string(n.TunnelAgent) }})
		})})
	return newGroup("network", "Networks underneath bridges", "  s4t network list", list, show, a.networkUplink(), a.networkGRE("attach-gre"), a.networkGRE("detach-gre"))
}

// completeNetworks completes the name of one network.
func (a *app) completeNetworks() cobra.CompletionFunc {
	return names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Network, error) { return c.Networks(ctx) }, func(n s4t.Network) string { return n.Name })
}

func (a *app) printNetwork(n s4t.Network) error {
	fields := []field{
		{"name", n.Name}, {"id", string(n.ID)}, {"layer", strconv.Itoa(n.Layer)},
		{"encapsulation", string(n.Encapsulation)}, {"mtu", strconv.Itoa(n.MTU)}, {"key", strconv.FormatUint(uint64(n.Key), 10)},
		{"subnets", subnetsOf(n)}, {"tunnel agent", string(n.TunnelAgent)}, {"uplink", uplinkText(n.Uplink)},
	}
	if u := n.Uplink; u != nil {
		fields = append(fields, field{"let out", (*outward)(&u.Guards.Outward).String()})
		if k := u.Counters; k != nil {
			fields = append(fields, counterFields("bridge", *k)...)
		}
	}
	if len(n.TunnelAgents) > 0 {
		ids := make([]string, len(n.TunnelAgents))
		for i, id := range n.TunnelAgents {
			ids[i] = string(id)
		}
		fields = append(fields, field{"spans", strings.Join(ids, " ")})
	}
	for _, p := range n.Problems {
		fields = append(fields, field{"problem", p})
	}
	err := a.printOne(n, n.Name, append(fields, field{"created", since(&n.CreatedAt)})...)
	if err != nil || a.format != "table" || len(n.AttachGRE) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	return a.printEndpoints(n.AttachGRE)
}

func subnetsOf(n s4t.Network) string {
	var l []string
	for _, s := range n.Subnets {
		l = append(l, s.CIDR.String())
	}
	return strings.Join(l, " ")
}

func (a *app) subnetCommand() *cobra.Command {
	id := func(s s4t.Subnet) string { return string(s.ID) }
	show := &cobra.Command{Use: "show ID", Short: "Show a subnet", Example: "  s4t subnet show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1),
		ValidArgsFunction: names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Subnet, error) { return c.Subnets(ctx) }, id),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			s, err := c.Subnet(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printOne(s, id(s), field{"id", id(s)}, field{"cidr", s.CIDR.String()}, field{"network", string(s.Network)})
		})}
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List subnets", Example: "  s4t subnet list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.SubnetList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, id,
				column[s4t.Subnet]{"ID", id},
				column[s4t.Subnet]{"CIDR", func(s s4t.Subnet) string { return s.CIDR.String() }},
				column[s4t.Subnet]{"NETWORK", func(s s4t.Subnet) string { return string(s.Network) }})
		})})
	return newGroup("subnet", "Address blocks of networks", "  s4t subnet list", list, show)
}

func (a *app) portCommand() *cobra.Command {
	id := func(p s4t.Port) string { return string(p.ID) }
	show := &cobra.Command{Use: "show ID", Short: "Show a port with its counters", Example: "  s4t port show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11 -o json", Args: exactly(1),
		ValidArgsFunction: names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Port, error) { return c.Ports(ctx) }, id),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			p, err := c.Port(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printPort(p)
		})}
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List ports", Example: "  s4t port list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.PortList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, id,
				column[s4t.Port]{"ID", id},
				column[s4t.Port]{"BOARD", func(p s4t.Port) string { return p.Board }},
				column[s4t.Port]{"STATUS", func(p s4t.Port) string { return string(p.Status) }},
				column[s4t.Port]{"INTERFACE", func(p s4t.Port) string { return p.Interface }},
				column[s4t.Port]{"ADDRESSES", func(p s4t.Port) string { return strings.Join(p.Addresses, " ") }},
				column[s4t.Port]{"MAC", func(p s4t.Port) string { return p.MAC }})
		})})
	return newGroup("port", "Ports: boards' attachments to networks", "  s4t port list", list, show)
}

func (a *app) printPort(p s4t.Port) error {
	fields := []field{
		{"id", string(p.ID)}, {"board", p.Board}, {"network", string(p.Network)}, {"status", string(p.Status)}, {"interface", p.Interface},
		{"mac", p.MAC}, {"addresses", strings.Join(p.Addresses, " ")}, {"mtu", strconv.Itoa(p.MTU)}, {"problem", p.Problem},
	}
	if g := p.GRE; g != nil {
		fields = append(fields, field{"gre", fmt.Sprintf("%s to %s, key %d", g.Local, g.Remote, g.Key)})
	}
	if n := p.Counters; n != nil {
		fields = append(fields, counterFields("board", *n)...)
	}
	return a.printOne(p, string(p.ID), fields...)
}

// counterFields shows what was counted between the switch and a peer.
func counterFields(peer string, n s4t.PortCounters) []field {
	return []field{
		{"from " + peer, fmt.Sprintf("%d frames, %s", n.RxFrames, s4t.Bytes(n.RxBytes))},
		{"to " + peer, fmt.Sprintf("%d frames, %s", n.TxFrames, s4t.Bytes(n.TxBytes))},
		{"dropped", droppedText(n.Dropped)},
	}
}

// droppedText lists the reasons that are not zero, by their JSON names, so
// that a new one shows by itself.
func droppedText(d s4t.PortDropped) string {
	var l []string
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		if n := v.Field(i).Uint(); n > 0 {
			reason, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			l = append(l, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if len(l) == 0 {
		return "none"
	}
	return strings.Join(l, ", ")
}
