package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// networkUplink is `network uplink`.
func (a *app) networkUplink() *cobra.Command {
	var req apiclient.UplinkCreate
	var guards s4t.PortGuards
	var remove bool
	cmd := &cobra.Command{Use: "uplink NETWORK (--bridge BR | --remove)", Short: "Put a network into a Linux bridge of the cloud host",
		Long: `Puts a layer-2 network into a Linux bridge of the cloud host, so that virtual
machines, containers and LANs there join it. It takes an admin's token, and an
iotronic that runs as root or with CAP_NET_ADMIN. It lasts until --remove.

The machines on the bridge are not the project's. So a board may speak to them
only as itself, with the addresses that the network gave it, whatever guards of
its port were lifted; --allow-out lifts that:
  any-source   any source address, MAC, ARP, neighbour discovery: a LAN behind a board
  dhcp         a board may be their DHCP server
  ra           a board may be their IPv6 router`,
		Example: "  s4t network uplink lab --bridge br0\n  s4t network uplink lab --bridge br0 --allow-dhcp --allow-ra\n  s4t network uplink lab --bridge br0 --allow-out any-source\n  s4t network uplink lab --remove",
		Args:    exactly(1), ValidArgsFunction: a.completeNetworks()}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if remove == (req.Bridge != "") {
			return usage(cmd, "say --bridge BR or --remove")
		}
		if guards != (s4t.PortGuards{}) {
			req.Guards = &guards
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		change := func() (s4t.Operation, error) { return c.SetUplink(ctx, args[0], req) }
		if remove {
			change = func() (s4t.Operation, error) { return c.RemoveUplink(ctx, args[0]) }
		}
		op, err := change()
		if err != nil {
			return err
		}
		missing := func() string {
			if n, err := c.Network(ctx, op.Object); err == nil && n.Uplink != nil {
				return n.Uplink.Problem
			}
			return ""
		}
		if printed, err := a.await(ctx, c, op, missing); printed || err != nil {
			return err
		}
		n, err := c.Network(ctx, op.Object)
		if err != nil {
			return err
		}
		return a.printNetwork(n)
	})
	f := cmd.Flags()
	f.StringVar(&req.Bridge, "bridge", "", "name of a Linux bridge `BR` on the host of the network's tunnel agent")
	f.BoolVar(&remove, "remove", false, "take the network out of its bridge")
	f.BoolVar(&guards.AllowDHCP, "allow-dhcp", false, "a DHCP server may sit on the bridge, and addresses it leases are allowed")
	f.BoolVar(&guards.AllowRA, "allow-ra", false, "an IPv6 router may sit on the bridge")
	f.Var((*outward)(&guards.Outward), "allow-out", "what ports whose guards are lifted may say towards the bridge too: `LIST` of any-source, dhcp, ra")
	f.IntVar(&guards.StormLimit, "storm-limit", 0, "`N` frames/s of broadcast, multicast and unknown unicast from the bridge (default 500)")
	f.Var((*megabits)(&guards.RateLimit), "rate-limit", "at most `MBIT` megabits a second each way (default: no limit)")
	return cmd
}

// outward is a list of what may leave a network for the data centre.
type outward s4t.OutwardGuards

// String implements pflag.Value.
func (o *outward) String() string {
	var all []string
	for _, name := range outwardNames {
		if *o.flag(name) {
			all = append(all, name)
		}
	}
	return strings.Join(all, ",")
}

// Set implements pflag.Value.
func (o *outward) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		flag := o.flag(strings.TrimSpace(name))
		if flag == nil {
			return fmt.Errorf("write a list of %s", strings.Join(outwardNames, ", "))
		}
		*flag = true
	}
	return nil
}

// Type implements pflag.Value.
func (o *outward) Type() string { return "LIST" }

var outwardNames = []string{"any-source", "dhcp", "ra"}

// flag is what a name of outwardNames stands for, nil for another.
func (o *outward) flag(name string) *bool {
	switch name {
	case "any-source":
		return &o.AllowAnySource
	case "dhcp":
		return &o.AllowDHCP
	case "ra":
		return &o.AllowRA
	}
	return nil
}

// uplinkText is an uplink in one line.
func uplinkText(u *s4t.Uplink) string {
	switch {
	case u == nil:
		return ""
	case u.Problem != "":
		return u.Bridge + " (" + string(u.Status) + ": " + u.Problem + ")"
	}
	return u.Bridge + " (" + string(u.Status) + ")"
}
