package main

import (
	"context"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// networkGRE is `network attach-gre` or `network detach-gre`.
func (a *app) networkGRE(verb string) *cobra.Command {
	var req apiclient.GREAttach
	var guards s4t.PortGuards
	attach := verb == "attach-gre"
	cmd := &cobra.Command{Use: verb + " NETWORK --remote IP [--key N]", Short: "Detach a GRE endpoint from a network",
		Example: "  s4t network detach-gre lab --remote 192.0.2.7", Args: exactly(1), ValidArgsFunction: a.completeNetworks()}
	if attach {
		cmd.Use, cmd.Short = cmd.Use+" [--local IP]", "Attach a GRE endpoint of the data centre to a network"
		cmd.Long = `Lets a GRE endpoint of the data centre, a gretap of a virtual machine or a
router, join a layer-2 network: the cloud host exchanges Ethernet in GRE in IPv4
with it. It takes an admin's token, and an iotronic that runs as root or with
CAP_NET_RAW. On a Linux machine the other end is, with the network's key from
` + "`s4t network show`" + `:

  ip link add gt0 type gretap local ITS-IP remote CLOUD-IP key KEY`
		cmd.Example = "  s4t network attach-gre lab --remote 192.0.2.7\n  s4t network attach-gre lab --remote 192.0.2.7 --key 66 --local 192.0.2.1"
	}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		for flag, text := range map[string]string{"--remote": req.Remote, "--local": req.Local} {
			if ip, err := netip.ParseAddr(text); (err != nil || !ip.Is4()) && (text != "" || flag == "--remote") {
				return usage(cmd, "%s is an IPv4 address", flag)
			}
		}
		if guards != (s4t.PortGuards{}) {
			req.Guards = &guards
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		change := c.DetachGRE
		if attach {
			change = c.AttachGRE
		}
		op, err := change(ctx, args[0], req)
		if err != nil {
			return err
		}
		missing := func() string {
			n, err := c.Network(ctx, op.Object)
			if err != nil {
				return ""
			}
			for _, e := range n.AttachGRE {
				if e.Remote == req.Remote && (req.Key == 0 || e.Key == req.Key) {
					return e.Problem
				}
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
	f.StringVar(&req.Remote, "remote", "", "`IP` address of the endpoint")
	f.Uint32Var(&req.Key, "key", 0, "GRE key `N`, the same at both ends (default the network's)")
	if attach {
		f.StringVar(&req.Local, "local", "", "`IP` address of the cloud host (default the one that the route to --remote has)")
		f.BoolVar(&guards.AllowDHCP, "allow-dhcp", false, "a DHCP server may sit behind the endpoint, and addresses it leases are allowed")
		f.BoolVar(&guards.AllowRA, "allow-ra", false, "an IPv6 router may sit behind the endpoint")
		f.Var((*outward)(&guards.Outward), "allow-out", "what ports whose guards are lifted may say towards the endpoint too: `LIST` of any-source, dhcp, ra")
	}
	return cmd
}

// printEndpoints lists the GRE endpoints of a network.
func (a *app) printEndpoints(list []s4t.GREEndpoint) error {
	return printList(a, list, func(e s4t.GREEndpoint) string { return string(e.ID) },
		column[s4t.GREEndpoint]{"GRE ENDPOINT", func(e s4t.GREEndpoint) string { return e.Remote }},
		column[s4t.GREEndpoint]{"KEY", func(e s4t.GREEndpoint) string { return strconv.FormatUint(uint64(e.Key), 10) }},
		column[s4t.GREEndpoint]{"LOCAL", func(e s4t.GREEndpoint) string { return e.Local }},
		column[s4t.GREEndpoint]{"STATUS", func(e s4t.GREEndpoint) string { return string(e.Status) }},
		column[s4t.GREEndpoint]{"PROBLEM", func(e s4t.GREEndpoint) string { return e.Problem }})
}
