package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) serviceCommand() *cobra.Command {
	var req apiclient.ServiceExpose
	expose := &cobra.Command{Use: "expose BOARD (NAME | PORT)", Short: "Give a TCP service of a board a public port",
		Example: "  s4t service expose kitchen ssh\n  s4t service expose kitchen 8080 --public-port 50080 --dns-name kitchen-web", Args: exactly(2), ValidArgsFunction: a.completeBoards(1)}
	expose.PreRunE = func(_ *cobra.Command, args []string) error {
		if n := req.PublicPort; n < 0 || n > 65535 {
			return usage(expose, "--public-port %d is not a TCP port", n)
		}
		_, err := tcpPort(expose, args[1])
		return err
	}
	expose.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Service = args[1]
		op, err := c.ExposeService(ctx, args[0], req)
		if err != nil {
			return err
		}
		missing := func() string {
			s, err := c.Service(ctx, op.Object)
			if err != nil || s.Status == s4t.ServiceUp {
				return ""
			}
			return strings.TrimSuffix("board "+s.Board+" ("+s.Problem+")", " ()")
		}
		if printed, err := a.await(ctx, c, op, missing); printed || err != nil {
			return err
		}
		s, err := c.Service(ctx, op.Object)
		if err != nil {
			return err
		}
		return a.printService(s)
	})
	expose.Flags().IntVar(&req.PublicPort, "public-port", 0, "wanted public `PORT` (default any free one)")
	expose.Flags().StringVar(&req.Target, "target", "", "`HOST` on the board's LAN, where the board allows it (default the board itself)")
	expose.Flags().StringVar(&req.DNSName, "dns-name", "", "`NAME` in the cloud's DNS zone, unique in the cloud, that leads to where the public port is")

	list := a.withLimit(&cobra.Command{Use: "list [BOARD]", Short: "List exposed services", Example: "  s4t service list\n  s4t service list kitchen -o json", Args: between(0, 1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.ServiceList(first(args)).First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, func(s s4t.Service) string { return s.Name },
				column[s4t.Service]{"BOARD", func(s s4t.Service) string { return s.Board }},
				column[s4t.Service]{"NAME", func(s s4t.Service) string { return s.Name }},
				column[s4t.Service]{"TARGET", func(s s4t.Service) string { return targetText(s) }},
				column[s4t.Service]{"PUBLIC", func(s s4t.Service) string { return net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort)) }},
				column[s4t.Service]{"DNS", dnsText},
				column[s4t.Service]{"STATUS", func(s s4t.Service) string { return string(s.Status) }},
				column[s4t.Service]{"CREATED", func(s s4t.Service) string { return since(&s.CreatedAt) }},
				column[s4t.Service]{"PROBLEM", func(s s4t.Service) string { return s.Problem }})
		})})

	show := &cobra.Command{Use: "show BOARD (NAME | PORT)", Short: "Show an exposed service, and where its public port is now", Example: "  s4t service show kitchen ssh\n  s4t service show kitchen 8080 -o json", Args: exactly(2), ValidArgsFunction: a.completeServices,
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			all, err := c.Services(ctx, args[0])
			if err != nil {
				return err
			}
			for _, s := range all {
				if s.Name == args[1] || string(s.ID) == args[1] || strconv.Itoa(s.TCPPort) == args[1] {
					return a.printService(s)
				}
			}
			return s4t.Errorf(s4t.NotFound, "show service "+args[1], "see `s4t service list "+args[0]+"`", "board %s does not expose it", args[0])
		})}

	hide := &cobra.Command{Use: "hide BOARD (NAME | PORT)", Short: "Close the public port of a service", Example: "  s4t service hide kitchen ssh", Args: exactly(2), ValidArgsFunction: a.completeServices,
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			was, err := c.Services(ctx, args[0])
			if err != nil {
				return err
			}
			op, err := c.HideService(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if printed, err := a.await(ctx, c, op, nil); printed || err != nil {
				return err
			}
			for _, s := range was {
				if string(s.ID) == op.Object {
					return a.printGone(s, "Service", s.Name)
				}
			}
			return nil
		})}
	return newGroup("service", "Services of boards with a public port", "  s4t service expose kitchen ssh\n  s4t service list", expose, list, show, a.serviceUpdate(), hide)
}

func (a *app) serviceUpdate() *cobra.Command {
	var name string
	var none bool
	cmd := &cobra.Command{Use: "update BOARD (NAME | PORT)", Short: "Give an exposed service a DNS name, or take it away",
		Example: "  s4t service update kitchen ssh --dns-name kitchen-ssh\n  s4t service update kitchen ssh --no-dns-name", Args: exactly(2), ValidArgsFunction: a.completeServices}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if (name == "") == !none {
			return usage(cmd, "say what to change: --dns-name NAME or --no-dns-name")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		s, err := c.UpdateService(ctx, args[0], args[1], apiclient.ServiceUpdate{DNSName: &name})
		if err != nil {
			return err
		}
		return a.printService(s)
	})
	cmd.Flags().StringVar(&name, "dns-name", "", "`NAME` in the cloud's DNS zone, unique in the cloud")
	cmd.Flags().BoolVar(&none, "no-dns-name", false, "take the name away; others can have it then")
	return cmd
}

// dnsText is the name of a service, whole where the cloud has a zone.
func dnsText(s s4t.Service) string { return cmp.Or(s.FQDN, s.DNSName) }

func (a *app) printService(s s4t.Service) error {
	return a.printOne(s, s.Name,
		field{"board", s.Board}, field{"name", s.Name}, field{"id", string(s.ID)},
		field{"target", targetText(s)},
		field{"public", net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort))},
		field{"dns", dnsText(s)}, field{"status", string(s.Status)}, field{"problem", s.Problem}, field{"created", since(&s.CreatedAt)})
}

// targetText is where the streams of a service go, and what is known of it.
func targetText(s s4t.Service) string {
	text := net.JoinHostPort(s.Target, strconv.Itoa(s.TCPPort))
	if s.TargetStatus != "" {
		text += " (" + s.TargetStatus + ")"
	}
	return text
}

// tcpPort reads the name of a known service or a TCP port.
func tcpPort(c *cobra.Command, text string) (int, error) {
	if n, ok := s4t.KnownServices[text]; ok {
		return n, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 65535 {
		return 0, usage(c, "%q is neither a TCP port nor a known service", text)
	}
	return n, nil
}

// first argument, or none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func stepLine(s s4t.Step) string {
	return fmt.Sprintf("%3d  %-52s %8s", s.Number, oneLine(s.Name), millis(s.TookMS))
}
