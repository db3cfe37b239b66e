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
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/internal/argv"
	"github.com/stack4things/s4t/store"
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
	root.AddCommand(newServeCommand(), newConfigCommand(), newStatusCommand(), newSwitchCACommand(), newMigrateCommand(), newBackupCommand(), newRestoreCommand(), newInstallCommand(), newVersionCommand())
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
		Use:   "config",
		Short: "Print a commented minimal configuration, or check one",
		Long: "Print a commented minimal configuration, or check one: the keys, the certificate's files, and with the\n" +
			"database, which is only read, whether boards trust the certificate.",
		Example: "  iotronic config > iotronic.toml\n  iotronic config --check iotronic.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				_, err := fmt.Fprint(cmd.OutOrStdout(), minimal)
				return err
			}
			cfg, err := readConfig(path)
			if err != nil {
				return err
			}
			settings, err := cfg.cloud()
			if err == nil {
				err = checkCertificate(cmd, settings)
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

// checkCertificate looks at the certificate's files, and at the boards where the
// database can be read; where not it says so.
func checkCertificate(cmd *cobra.Command, settings cloud.Config) error {
	if settings.Database == "" { // the conductors' configuration is what counts
		return cloud.Check(cmd.Context(), settings, nil)
	}
	db, err := store.OpenToRead(cmd.Context(), settings.Database)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "iotronic: not looked at whether boards trust the certificate: %v\n", err)
		return cloud.Check(cmd.Context(), settings, nil)
	}
	defer db.Close()
	return cloud.Check(cmd.Context(), settings, db)
}
