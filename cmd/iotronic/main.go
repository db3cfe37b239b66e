// Command iotronic is the cloud of Stack4Things: the REST API, the conductor,
// the WAMP agent and the tunnel agent, in one process or (by role) in several.
// It holds flags, configuration and the data directory; package cloud puts the
// parts together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/argv"
)

// version is set by the linker.
var version = "dev"

// Exit statuses, the same as those of s4t where they apply.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks an error of the command line itself.
var errUsage = errors.New("wrong usage")

func main() {
	args := argv.Take()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, args, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "iotronic:", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "iotronic:", err)
	if s4t.KindOf(err) == s4t.Invalid {
		return exitUsage
	}
	return exitFailed
}

// newRoot builds the commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "iotronic",
		Short:         "The cloud of Stack4Things",
		Example:       "  iotronic serve\n  iotronic serve --data /var/lib/iotronic --listen 0.0.0.0:8812 --url https://cloud.example.org:8812",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.ErrOrStderr())
			cmd.Help()
			return usage(errors.New("name a command; iotronic serve starts the cloud"))
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(err) })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newServeCommand(), newConfigCommand(), newVersionCommand())
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Example = "  iotronic help serve"
	}
	for _, c := range append(root.Commands(), root) {
		c.Args = wrapArgs(c.Args)
	}
	return root
}

// usage marks err as wrong usage; it prints as err does.
func usage(err error) error { return usageError{err} }

type usageError struct{ error }

func (e usageError) Unwrap() []error { return []error{errUsage, e.error} }

func wrapArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(err)
		}
		return nil
	}
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  iotronic version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "iotronic %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func newConfigCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "config",
		Short:   "Print a commented minimal configuration, or check one",
		Example: "  iotronic config > iotronic.toml\n  iotronic config --check iotronic.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				_, err := fmt.Fprint(cmd.OutOrStdout(), minimal)
				return err
			}
			cfg, err := readConfig(path)
			if err == nil {
				err = cfg.check()
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: no mistake found\n", path)
			return err
		},
	}
	c.Flags().StringVar(&path, "check", "", "check this `FILE` instead")
	return c
}

func newServeCommand() *cobra.Command {
	var file, logLevel string
	def := defaults()
	flags := def
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the cloud until SIGTERM",
		Long: "Run the cloud until SIGTERM. When everything is up, one line `ready URL` is printed on standard output;\n" +
			"the log goes to standard error. The first start makes DIR/ca.pem, the project default, and the user admin\n" +
			"with the context DIR/admin.toml for s4t.",
		Example: "  iotronic serve\n" +
			"  iotronic serve --data /var/lib/iotronic --listen 0.0.0.0:8812 --url https://cloud.example.org:8812\n" +
			"  s4t --context-file iotronic-data/admin.toml board list",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := def
			if file != "" {
				var err error
				if cfg, err = readConfig(file); err != nil {
					return err
				}
			}
			set := func(flag string, to *string, value string) {
				if cmd.Flags().Changed(flag) {
					*to = value
				}
			}
			set("data", &cfg.Data, flags.Data)
			set("listen", &cfg.Listen, flags.Listen)
			set("url", &cfg.URL, flags.URL)
			set("role", &cfg.Role, flags.Role)
			set("database", &cfg.Database, flags.Database)
			set("queue", &cfg.Queue, flags.Queue)
			set("public-ports", &cfg.PublicPorts, flags.PublicPorts)
			set("public-listen", &cfg.PublicListen, flags.PublicListen)
			set("tls", &cfg.TLS.Mode, flags.TLS.Mode)
			if cmd.Flags().Changed("trusted-proxy") {
				cfg.TLS.TrustedProxy = flags.TLS.TrustedProxy
			}
			if err := cfg.check(); err != nil {
				return err
			}
			log, err := newLog(cmd.ErrOrStderr(), logLevel)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), log)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "read `FILE` (see iotronic config); flags win over it")
	f.StringVar(&flags.Data, "data", def.Data, "data directory `DIR`")
	f.StringVar(&flags.Listen, "listen", def.Listen, "`ADDR:PORT` of the one HTTPS port; public ports bind to ADDR too")
	f.StringVar(&flags.URL, "url", "", "what others are told: https://NAME:PORT (default: made from --listen)")
	f.StringVar(&flags.Role, "role", def.Role, "`ROLES` of this process: all, or some of api, conductor, wamp-agent and tunnel-agent with commas between them")
	f.StringVar(&flags.Database, "database", "", "`URL` of the database (default: SQLite in the data directory)")
	f.StringVar(&flags.Queue, "queue", "", "`URL` of the message queue (default: in-process)")
	f.StringVar(&flags.PublicPorts, "public-ports", def.PublicPorts, "`FROM-TO` for exposed services")
	f.StringVar(&flags.PublicListen, "public-listen", "", "`ADDR` that public ports bind to (default: that of --listen)")
	f.StringVar(&flags.TLS.Mode, "tls", def.TLS.Mode, "`MODE`: on, or off; off serves plain HTTP for a reverse proxy that ends TLS")
	f.StringArrayVar(&flags.TLS.TrustedProxy, "trusted-proxy", nil, "`CIDR` of a reverse proxy whose X-Forwarded-For is believed; repeatable; with --tls off others are refused")
	f.StringVar(&logLevel, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	return c
}
