package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
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
			return a.show(ctx, client.URL()+"/#login="+code.Code, only)
		}
		return serveLocally(ctx, client, func(at string) error { return a.show(ctx, at+"#login="+code.Code, only) })
	}
	return cmd
}

// show opens a link, or prints it where only that is wanted, or nothing can open it.
func (a *app) show(ctx context.Context, link string, only bool) error {
	if only {
		_, err := fmt.Fprintln(a.stdout, link)
		return err
	}
	if err := browse(ctx, link); err != nil {
		fmt.Fprintf(a.stderr, "s4t: no browser could be opened (%s); this link works once, within a minute:\n", oneLine(err.Error()))
		_, err := fmt.Fprintln(a.stdout, link)
		return err
	}
	_, err := io.WriteString(a.stderr, "The dashboard is opened in your browser.\n")
	return err
}

// browsers open a file in the browser of who sits here, by system.
var browsers = map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}

// browse opens a link in a browser. Arguments of a process can be read by everybody on this
// machine: the link is in a file that only this user reads, and which leads there.
func browse(ctx context.Context, link string) error {
	const op = "open a browser"
	line := browsers[runtime.GOOS]
	if line == nil {
		line = []string{"xdg-open"}
	}
	if _, err := exec.LookPath(line[0]); err != nil {
		return s4t.Errorf(s4t.NotFound, op, "", "%w", err)
	}
	dir, err := os.MkdirTemp("", "s4t-dashboard-") // mode 0700
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	page := filepath.Join(dir, "open.html")
	text := `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=` + html.EscapeString(link) + `"><title>Stack4Things</title>`
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	// It stays until its code is worth nothing: the browser reads it in its own time.
	ctx, cancel := context.WithTimeout(ctx, s4t.LoginCodeLifetime)
	defer cancel()
	out, err := exec.CommandContext(ctx, line[0], append(line[1:], page)...).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		return s4t.Errorf(s4t.Internal, op, "", "%s: %w: %s", line[0], err, s4t.Line(strings.TrimSpace(string(out)), 200))
	}
	return nil
}

// serveLocally serves the dashboard on this machine until ctx ends; ready is told where.
func serveLocally(ctx context.Context, client *apiclient.Client, ready func(at string) error) error {
	p, err := newLocalProxy(client)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := ready(p.enter()); err != nil {
		return err
	}
	if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
