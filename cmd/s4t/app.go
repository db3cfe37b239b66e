package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// app is one run of the command line.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	// Flags that every command has.
	contextFile string
	contextName string
	format      string
	noWait      bool
	timeout     time.Duration

	limit int // of a list; 0: all

	mu    sync.Mutex
	heard string // what the cloud's last answer said of whom to trust, see learnTrust; mu guards it
}

// defaultTimeout is how long a command waits for its operation.
const defaultTimeout = 30 * time.Second

// run carries out one command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(negativeValue(root, args))
	err := root.ExecuteContext(ctx)
	a.learnTrust(context.WithoutCancel(ctx))
	if err == nil {
		return 0
	}
	if e, ok := err.(remoteStatus); ok {
		return int(e)
	}
	io.WriteString(a.stderr, "s4t: "+oneLine(err.Error())+"\n")
	return exitStatus(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "s4t",
		Short: "Boards behind NATs: access to their services, virtual networks among them",
		Long: `s4t speaks to an IoTronic cloud. It takes URL and token from a context: the file
given with --context-file or S4T_CONTEXT_FILE, else ~/.config/s4t/contexts.toml,
which ` + "`s4t login`" + ` writes. S4T_URL, S4T_TOKEN and S4T_CA override it.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 no such object, 4 not allowed or
not logged in, 5 board offline, 6 conflict.`,
		Example: `  s4t login https://cloud.example.org:8812
  s4t board create kitchen
  s4t ssh kitchen
  s4t bridge create lab --board kitchen --board garden`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs, RunE: group,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // what the parser of numbers says is for programmers
		return usage(c, "%s", text)
	})
	f := root.PersistentFlags()
	f.StringVar(&a.contextFile, "context-file", "", "`FILE` with contexts (default $S4T_CONTEXT_FILE or ~/.config/s4t/contexts.toml)")
	f.StringVar(&a.contextName, "context", "", "`NAME` of the one to use (default $S4T_CONTEXT, else the file's current one)")
	f.StringVarP(&a.format, "output", "o", "table", "`FORMAT`: table, json, yaml or name")
	f.BoolVar(&a.noWait, "no-wait", false, "print the operation at once instead of waiting until it is done")
	f.DurationVar(&a.timeout, "timeout", defaultTimeout, "how long to wait until it is done")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if !slices.Contains(formats, a.format) {
			return usage(c, "%q is no output format: use table, json, yaml or name", a.format)
		}
		if a.timeout <= 0 {
			return usage(c, "--timeout %v is not a time to wait", a.timeout)
		}
		if limit := c.Flags().Lookup("limit"); limit != nil && limit.Changed && a.limit < 1 {
			return usage(c, "--limit %d shows nothing", a.limit)
		}
		return nil
	}
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.RegisterFlagCompletionFunc("context", a.completeContexts)
	root.AddCommand(
		a.loginCommand(), a.contextCommand(), a.versionCommand(), a.projectCommand(), a.userCommand(), a.tokenCommand(),
		a.boardCommand(), a.pinCommand(), a.pluginCommand(), a.mountCommand(), a.sshCommand(), a.terminalCommand(), a.recordingCommand(), a.connectCommand(), a.serviceCommand(), a.commandCommand(), a.fleetCommand(), a.rolloutCommand(), a.offerCommand(), a.leaseCommand(), a.whoCanCommand(), a.bridgeCommand(),
		a.networkCommand(), a.subnetCommand(), a.portCommand(), a.operationCommand(), a.eventCommand(), a.auditCommand(), a.agentCommand(), a.cloudCommand(),
		a.doctorCommand(), a.dashboardCommand(), completionCommand(), newDemoCommand(),
	)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Example = "  s4t help bridge create"
	}
	return root
}

// group is the action of a command that has only others beneath it.
func group(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		hint := ""
		c.SuggestionsMinimumDistance = 2
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage(c, "there is no command %q%s", args[0], hint)
	}
	if !c.HasParent() {
		return c.Help()
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return usage(c, "say what to do: %s", strings.Join(names, ", "))
}

// newGroup is a command that has only others beneath it.
func newGroup(use, short, example string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs, RunE: group}
	c.AddCommand(sub...)
	return c
}

// withLimit gives the command of a list its flag.
func (a *app) withLimit(list *cobra.Command) *cobra.Command {
	list.Flags().IntVar(&a.limit, "limit", 0, "show the first `N` only (default all)")
	return list
}

// between checks the number of arguments, and says what is missing.
func between(lo, hi int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < lo:
			return usage(c, "too few arguments: %s", synopsis(c))
		case hi >= 0 && len(args) > hi:
			return usage(c, "%q is one argument too many: %s", args[hi], synopsis(c))
		case slices.Contains(args[:lo], ""): // an unset variable of a script, most likely
			return usage(c, "an argument is empty: %s", synopsis(c))
		}
		return nil
	}
}

// synopsis is the command with its arguments.
func synopsis(c *cobra.Command) string { return strings.TrimSuffix(c.UseLine(), " [flags]") }

// exactly checks the number of arguments.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

// client of the cloud of the context.
func (a *app) client() (*apiclient.Client, error) {
	c, err := a.resolve()
	if err != nil {
		return nil, err
	}
	return c.clientThat(a.hear)
}

// withClient runs a command that speaks to the API, for as long as it takes.
func (a *app) withClient(f func(ctx context.Context, c *apiclient.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return f(cmd.Context(), c, args)
	}
}

// await waits for an operation that a request has started. It returns true
// when the command has nothing more to print: with --no-wait, where it prints
// the operation. missing, where it is not nil, says what an operation still
// waits for when time is up.
func (a *app) await(ctx context.Context, c *apiclient.Client, op s4t.Operation, missing func() string) (printed bool, err error) {
	if a.noWait {
		return true, a.printOperation(op)
	}
	wait, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var onStep func(s4t.Step)
	if isTerminal(a.stderr) {
		onStep = func(s s4t.Step) { io.WriteString(a.stderr, stepLine(s)+"\n") }
	}
	op, err = c.WaitOperation(wait, op.ID, onStep)
	if e, ok := errors.AsType[*s4t.Error](err); ok && missing != nil && wait.Err() != nil && ctx.Err() == nil {
		if m := missing(); m != "" {
			e.Msg += "; still missing: " + m
		}
	}
	if err != nil {
		return false, err
	}
	return false, apiclient.Failed(op)
}
