package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t/apiclient"
)

func (a *app) cloudCommand() *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show the cloud: version, hosts of public ports, until when its CA and certificates are good", Example: "  s4t cloud show", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			i, err := c.Cloud(ctx)
			if err != nil {
				return err
			}
			shared := "no"
			if i.SharedHost {
				shared = "yes: give public ports a host name of their own (iotronic serve --public-host)"
			}
			fields := []field{{"version", i.Version}, {"url", i.URL}, {"public ports at", strings.Join(i.PublicHosts, " ")}, {"dashboard there too", shared}}
			for _, ca := range i.CAs {
				fields = append(fields, field{"ca", ca.Name + ", until " + ca.Until.Local().Format(time.DateTime)})
			}
			if i.CertificateUntil != nil {
				fields = append(fields, field{"certificate", "until " + i.CertificateUntil.Local().Format(time.DateTime)})
			}
			for _, p := range i.Certificates {
				fields = append(fields, field{"certificate of", p.Process + ", " + p.Host + ", until " + p.Until.Local().Format(time.DateTime)})
			}
			return a.printOne(i, i.URL, fields...)
		})}
	return newGroup("cloud", "The cloud itself", "  s4t cloud show", show)
}
