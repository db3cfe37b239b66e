package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t/apiclient"
)

func (a *app) dashboardCommand() *cobra.Command {
	var only, local bool
	cmd := &cobra.Command{Use: "dashboard", Short: "Open the dashboard in a browser, logged in",
		Long: `Opens the dashboard of the cloud in the browser of this machine, logged in as who this
context is, by a link that works once, within a minute. The session there is never
stronger than this context's token, and ends with it.

Where the cloud has a CA of its own, which browsers do not know, the pages come through a
server on this machine that checks the cloud's certificate as s4t does: it runs until
Ctrl-C, for this user's browser only. With --print the link is printed, and nothing is
opened: it leads to the cloud itself, or, with --local, to such a server.`,
		Example: "  s4t dashboard\n  s4t dashboard --print", Args: exactly(0)}
	cmd.Flags().BoolVar(&only, "print", false, "print the link, and open nothing")
	cmd.Flags().BoolVar(&local, "local", false, "serve the pages from this machine, also where the system knows the cloud's CA")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.resolve()
		if err != nil {
			return err
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		ctx := cmd.Context()
		code, err := client.CreateLoginCode(ctx)
		if err != nil {
			return err
		}
		ca, _ := c.trusted()
		if !local && (only || ca == "") {
			_, err := a.show(ctx, client.URL()+"/#login="+code.Code, only)
			return err
		}
		return serveLocally(ctx, client, func(at string) (func(), error) { return a.show(ctx, at+"#login="+code.Code, only) })
	}
	return cmd
}

// show opens a link, or prints it where only that is wanted, or nothing can open it. Who stays
// until the link leads nowhere calls forget then, which removes what led a browser there.
func (a *app) show(ctx context.Context, link string, only bool) (forget func(), err error) {
	if only {
		_, err = fmt.Fprintln(a.stdout, link)
		return func() {}, err
	}
	if forget, err = browse(ctx, link); err != nil {
		fmt.Fprintf(a.stderr, "s4t: no browser could be opened (%s); this link works once, within a minute:\n", oneLine(err.Error()))
		_, err = fmt.Fprintln(a.stdout, link)
		return func() {}, err
	}
	_, err = io.WriteString(a.stderr, "The dashboard is opened in your browser.\n")
	return forget, err
}

// serveLocally serves the dashboard on this machine until ctx ends; ready is told where, and what
// it returns is called at the end.
func serveLocally(ctx context.Context, client *apiclient.Client, ready func(at string) (end func(), err error)) error {
	p, err := newLocalProxy(client)
	if err != nil {
		return err
	}
	defer p.Close()
	end, err := ready(p.enter())
	defer end()
	if err != nil {
		return err
	}
	if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
