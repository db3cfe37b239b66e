package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/queue/amqp"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/unit"
)

// place says which cloud of this machine a command is about.
type place struct{ file, data, database string }

func (p *place) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.file, "config", "", "the `FILE` that iotronic serve reads")
	f.StringVar(&p.data, "data", defaults().Data, "its data directory `DIR`")
	f.StringVar(&p.database, "database", "", "`URL` of its database (default: SQLite in the data directory)")
}

// settings are the configuration of that cloud.
func (p *place) settings(c *cobra.Command) (cloud.Config, error) {
	cfg := defaults()
	if p.file != "" {
		var err error
		if cfg, err = readConfig(p.file); err != nil {
			return cloud.Config{}, err
		}
	}
	if p.file == "" || c.Flags().Changed("data") {
		cfg.Data = p.data
	}
	if c.Flags().Changed("database") {
		cfg.Database = p.database
	}
	return cfg.cloud()
}

func newStatusCommand() *cobra.Command {
	var at place
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how the cloud is: its processes, boards and certificate",
		Long: "Say how the cloud is, from its database: its processes, how many boards there are, and how many of them trust the\n" +
			"certificate that is shown and the one that is announced (tls.next_ca). Agents are always listed, conductors and APIs\n" +
			"where they have names (--queue).",
		Example: "  iotronic status --data /var/lib/iotronic\n  iotronic status --config /etc/iotronic.toml -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage(s4t.Errorf(s4t.Invalid, "print the status", "use table or json", "there is no format %q", output))
			}
			settings, err := at.settings(cmd)
			if err == nil && settings.Database == "" {
				err = s4t.Errorf(s4t.Invalid, "say how the cloud is", "ask a process with the role conductor, or give its --database; `s4t agent list` works from everywhere", "this process has no database: its roles are those of agents")
			}
			if err != nil {
				return err
			}
			db, err := store.OpenToRead(cmd.Context(), settings.Database)
			if err != nil {
				return err
			}
			defer db.Close()
			s, err := cloud.ReadStatus(cmd.Context(), db)
			if err != nil {
				return err
			}
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return printStatus(cmd.OutOrStdout(), s)
		},
	}
	at.flags(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "output `FORMAT`: table or json")
	return c
}

func printStatus(w io.Writer, s cloud.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range s.Processes {
		state := "online"
		agent := p.Role == cloud.WAMPAgent || p.Role == cloud.TunnelAgent
		switch {
		case p.Online:
		case agent:
			state = "away since " + p.SeenAt.UTC().Format(time.RFC3339)
		default:
			state = "silent, last seen " + p.SeenAt.UTC().Format(time.RFC3339)
		}
		if p.Status == s4t.AgentDraining || p.Status == s4t.AgentDrained {
			state = string(p.Status)
		}
		if agent {
			state += fmt.Sprintf(", %d boards", p.Boards)
		}
		if p.Online && p.Load != nil {
			state += fmt.Sprintf(", load %.1f %%", 100**p.Load)
		}
		if p.Upkeep {
			state += ", does the upkeep"
		}
		if p.Role == cloud.TunnelAgent {
			state += fmt.Sprintf(", %d networks, %d public ports", p.Networks, p.Services)
		}
		if p.Version != "" {
			state += ", version " + s4t.Line(p.Version, 80)
		}
		if p.Place != "" {
			state += ", at " + s4t.Line(p.Place, 80)
		}
		if !p.CertificateUntil.IsZero() {
			state += ", certificate until " + p.CertificateUntil.UTC().Format(time.DateOnly)
		}
		if p.Lag > 0 {
			state += fmt.Sprintf(", %d changes behind", p.Lag)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s4t.Line(p.Name, 80), s4t.Line(cmp.Or(p.URL, p.Host), 200), state)
	}
	fmt.Fprintf(t, "boards\t%d enrolled, %d online\n", s.Boards.Enrolled, s.Boards.Online)
	know := func(unknown []string) string {
		text := fmt.Sprintf("trusted by %d of %d boards", s.Boards.Enrolled-len(unknown), s.Boards.Enrolled)
		if len(unknown) > 0 {
			text += ", not by " + strings.Join(unknown, " ")
		}
		return text
	}
	if s.Certificate.Shown != "" {
		fmt.Fprintf(t, "certificate\tof %s, %s\n", issuer(s.Certificate.Shown), know(s.Certificate.Untrusting))
	}
	if len(s.Certificate.Next) > 0 {
		var of []string
		for _, n := range s.Certificate.Next {
			of = append(of, issuer(n))
		}
		fmt.Fprintf(t, "next\tof %s, %s\n", strings.Join(of, " and "), know(s.Certificate.NextUnknown))
	}
	return t.Flush()
}

// issuer is what people call whom a certificate is of.
func issuer(name string) string {
	if name == s4t.SystemRoots {
		return "a public CA"
	}
	return "the CA with SHA-256 " + name
}

func newSwitchCACommand() *cobra.Command {
	var at place
	var cut int
	c := &cobra.Command{
		Use:   "switch-ca",
		Short: "Make the next CA of iotronic's own the present one",
		Long: "Make the next CA of iotronic's own, which tls.next_ca = \"own\" makes and announces, the present one. It is refused\n" +
			"while boards do not trust it yet. The key of the present one is destroyed. A running iotronic takes the new one\n" +
			"with SIGHUP.",
		Example: "  iotronic switch-ca --data /var/lib/iotronic && systemctl reload iotronic",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := at.settings(cmd)
			if err != nil {
				return err
			}
			settings.TLS.CutOffBoards = cut
			db, err := store.OpenToRead(cmd.Context(), settings.Database)
			if err != nil {
				return err
			}
			defer db.Close()
			if err := cloud.SwitchCA(cmd.Context(), settings, db); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "switched; a running iotronic shows it after SIGHUP")
			return err
		},
	}
	at.flags(c)
	c.Flags().IntVar(&cut, "cut-off-boards", 0, "switch although up to `N` boards do not trust it, and will have to be joined again")
	return c
}

func newInstallCommand() *cobra.Command {
	var file, manager string
	var print, start bool
	c := &cobra.Command{
		Use:   "install",
		Short: "Make the cloud a service of this machine",
		Long: "Write the unit that runs `iotronic serve --config FILE`, for systemd, OpenRC or procd: started again whenever it\n" +
			"ends, and with the rights that it needs only.",
		Example: "  iotronic config > /etc/iotronic.toml\n  iotronic install --config /etc/iotronic.toml --start\n  iotronic install --print --manager systemd",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, data, err := serviceUnit(file, manager)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if print {
				_, err := io.WriteString(out, u.Text)
				return err
			}
			return install(cmd.Context(), out, u, data, start)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "/etc/iotronic.toml", "the `FILE` that the service reads")
	f.StringVar(&manager, "manager", "", "`MANAGER`: systemd, openrc or procd (default: the one that runs here)")
	f.BoolVar(&print, "print", false, "print the unit, and change nothing")
	f.BoolVar(&start, "start", false, "start it too, now and after each boot")
	return c
}

// serviceUnit is the unit of a cloud that reads file, and its data directory.
func serviceUnit(file, manager string) (u unit.Unit, data string, err error) {
	var m unit.Manager
	if manager == "" {
		m, err = unit.Detect("/")
	} else {
		m, err = unit.ParseManager(manager)
	}
	if err != nil {
		return u, "", err
	}
	program, err := os.Executable()
	if err != nil {
		return u, "", s4t.Errorf(s4t.Internal, "find this program", "", "%w", err)
	}
	if file, err = filepath.Abs(file); err != nil {
		return u, "", s4t.Errorf(s4t.Invalid, "find "+file, "", "%w", err)
	}
	cfg, err := readConfig(file)
	if err == nil {
		err = cfg.check()
	}
	if err != nil {
		return u, "", err
	}
	if !filepath.IsAbs(cfg.Data) {
		return u, "", bad("data", "give the whole path, like "+m.StateDir("iotronic"), "%q is relative, and a service has no directory of its own", cfg.Data)
	}
	s := unit.Service{
		Name: "iotronic", Description: "Stack4Things cloud (iotronic)",
		Command: []string{program, "serve", "--config", file}, State: filepath.Clean(cfg.Data), Needs: file, Reload: true,
		// Ports under 1024; TAP devices in Linux bridges for uplinks; GRE.
		Capabilities: []string{"CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW"}, TUN: true,
		Files: 262144, Hopeless: []string{fmt.Sprint(exitUsage)},
	}
	for _, f := range append([]string{file, cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.CA, cfg.TLS.NextCA}, amqp.Files(cfg.Queue)...) {
		if filepath.IsAbs(f) {
			s.Reads = append(s.Reads, f)
		}
	}
	u, err = s.Unit(m)
	return u, s.State, err
}

// install writes a unit, and starts it where asked.
func install(ctx context.Context, out io.Writer, u unit.Unit, data string, start bool) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return s4t.Errorf(s4t.Unavailable, "make the data directory "+data, "run this as root", "%w", err)
	}
	if err := u.Write("/"); err != nil {
		return err
	}
	fmt.Fprintf(out, "wrote %s\n", u.Path)
	if !start {
		fmt.Fprintf(out, "start it with: %s\n", strings.Join(u.Commands(), " && "))
		return nil
	}
	if err := u.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "started")
	return nil
}
