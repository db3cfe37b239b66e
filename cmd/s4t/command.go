package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) commandCommand() *cobra.Command {
	name := func(c s4t.Command) string { return c.Name }
	list := a.withLimit(&cobra.Command{Use: "list [BOARD]", Short: "List commands, of one board or of all", Example: "  s4t command list\n  s4t command list kitchen", Args: between(0, 1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			board := ""
			if len(args) > 0 {
				board = args[0]
			}
			l, err := c.CommandList(board).First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, name,
				column[s4t.Command]{"BOARD", func(c s4t.Command) string { return c.Board }},
				column[s4t.Command]{"NAME", name},
				column[s4t.Command]{"SOURCE", sourceText},
				column[s4t.Command]{"PARAMETERS", paramsText},
				column[s4t.Command]{"TIMEOUT", func(c s4t.Command) string { return c.Timeout }},
				column[s4t.Command]{"DESCRIPTION", func(c s4t.Command) string { return c.Description }})
		})})
	show := &cobra.Command{Use: "show BOARD NAME", Short: "Show a command: what it takes and what it answers", Example: "  s4t command show kitchen blink", Args: exactly(2), ValidArgsFunction: a.completeCommands,
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			cmd, err := c.Command(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			stream := ""
			if cmd.Stream {
				stream = "yes"
			}
			return a.printOne(cmd, cmd.Name, field{"name", cmd.Name}, field{"board", cmd.Board}, field{"source", sourceText(cmd)}, field{"description", cmd.Description},
				field{"timeout", cmd.Timeout}, field{"stream", stream}, field{"params", string(cmd.Params)}, field{"result", string(cmd.Result)})
		})}
	cancel := &cobra.Command{Use: "cancel OPERATION", Short: "End a command that runs, or is queued", Example: "  s4t command cancel 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: a.completeOperations(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			op, err := c.CancelCommand(ctx, s4t.OperationID(args[0]))
			if err != nil {
				return err
			}
			if !op.Status.Ended() && !a.noWait {
				wait, stop := context.WithTimeout(ctx, a.timeout)
				defer stop()
				if op, err = c.WaitOperation(wait, op.ID, nil); err != nil {
					return err
				}
			}
			return a.printOperation(op)
		})}
	return newGroup("command", "Commands: what boards do when they are told to", "  s4t command list kitchen\n  s4t command run kitchen blink times=3",
		list, show, a.commandRun(), cancel)
}

// sourceText says where a command comes from.
func sourceText(c s4t.Command) string {
	if c.Plugin != "" {
		return c.Source + " " + c.Plugin
	}
	return c.Source
}

// runFlags are what `command run` takes.
type runFlags struct {
	fleet           string
	boards          []string
	json            string
	deadline, queue time.Duration
	key             string
	stream          bool
}

// beginTime is how long a cloud has beyond --timeout to say which operation it is: who
// waits no longer can then ask for it.
const beginTime = 5 * time.Second

func (a *app) commandRun() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{Use: "run BOARD NAME [K=V]...", Aliases: []string{"exec"}, Short: "Run a command on a board, on several, or on a fleet",
		Long: `Runs a command and prints its result. K=V are its parameters, by its schema: numbers,
true and false, a,b,c for lists, JSON for the rest; --json has them all at once. With
--fleet F or --board B (instead of the first argument) all these boards run it, and a
result is printed for each.

Exit status: 1 the command failed, and says why on standard error; 5 the board is offline
and --queue was not given; 2 the parameters do not fit; 3 the board has no such command.
A command goes on when nobody waits for it: --no-wait prints its operation at once, and
s4t command cancel ends it.`,
		Example: "  s4t command run kitchen blink times=3\n  s4t command run kitchen report --json params.json --deadline 5m --stream\n  s4t command run --fleet lamps blink times=1\n  s4t command run kitchen update --queue 1h --no-wait", ValidArgsFunction: a.completeCommands}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		least := 2
		if r.many() {
			least = 1
		}
		return between(least, -1)(cmd, args)
	}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case r.fleet != "" && len(r.boards) > 0:
			return usage(cmd, "give --fleet or --board, not both")
		case r.stream && (r.many() || a.noWait):
			return usage(cmd, "--stream is for one board, and waits")
		case r.deadline < 0 || r.deadline > s4t.MaxCommandTimeout:
			return usage(cmd, "--deadline %v is not between 0 and %v", r.deadline, s4t.MaxCommandTimeout)
		case r.queue < 0 || r.queue > s4t.MaxCommandQueue || r.queue > 0 && r.queue < time.Second:
			return usage(cmd, "--queue %v is not between 1s and %v", r.queue, s4t.MaxCommandQueue)
		case len(r.key) > s4t.MaxKey:
			return usage(cmd, "--key has %d bytes, %d are possible", len(r.key), s4t.MaxKey)
		case s4t.Line(r.key, s4t.MaxKey) != r.key:
			return usage(cmd, "--key is one line, without control characters")
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		boards := r.boards
		if !r.many() {
			boards, args = args[:1], args[1:]
		}
		name, pairs := args[0], args[1:]
		params, err := a.params(ctx, c, cmd, &r, boards, name, pairs)
		if err != nil {
			return err
		}
		o := apiclient.RunOptions{Params: params, Deadline: r.deadline, Queue: r.queue, Key: r.key, Async: a.noWait}
		begin, wait := ctx, ctx
		if cmd.Flags().Changed("timeout") {
			var stop, stopBegin context.CancelFunc
			wait, stop = context.WithTimeout(ctx, a.timeout)
			defer stop()
			begin, stopBegin = context.WithTimeout(ctx, a.timeout+beginTime)
			defer stopBegin()
			o.Wait = a.timeout
		}
		switch {
		case r.many():
			return a.runMany(begin, wait, c, &r, name, o)
		case r.stream:
			return a.runStream(begin, wait, c, boards[0], name, o)
		}
		return a.runOne(begin, wait, c, boards[0], name, o)
	})
	f := cmd.Flags()
	f.StringVar(&r.fleet, "fleet", "", "all boards of this `FLEET`, instead of BOARD")
	f.StringArrayVar(&r.boards, "board", nil, "this `BOARD`, instead of the first argument; repeat for each")
	f.StringVar(&r.json, "json", "", "the parameters as a JSON object in this `FILE`; - is standard input")
	f.DurationVar(&r.deadline, "deadline", 0, "end the command after this `DURATION` (default and most: the command's own)")
	f.DurationVar(&r.queue, "queue", 0, "where the board is offline, wait this `DURATION` for it: it runs in that time or never")
	f.StringVar(&r.key, "key", "", "idempotency `KEY`: the same again runs once")
	f.BoolVar(&r.stream, "stream", false, "print what the command says while it runs, a line each; the last line is its result")
	cmd.RegisterFlagCompletionFunc("fleet", a.completeFleets(anyNumber))
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

func (r *runFlags) many() bool { return r.fleet != "" || len(r.boards) > 0 }

// params are the parameters of a run.
func (a *app) params(ctx context.Context, c *apiclient.Client, cmd *cobra.Command, r *runFlags, boards []string, name string, pairs []string) (json.RawMessage, error) {
	base := json.RawMessage("{}")
	if r.json != "" {
		var err error
		if base, err = a.readParams(r.json); err != nil {
			return nil, err
		}
	}
	if len(pairs) == 0 {
		return base, nil
	}
	if r.fleet != "" {
		var err error
		if boards, err = fleetOf(ctx, c, r.fleet); err != nil {
			return nil, err
		}
	}
	var schema json.RawMessage
	for i, b := range boards { // what one takes, they all do
		known, err := c.Command(ctx, b, name)
		if err == nil {
			schema = known.Params
			break
		}
		if i == len(boards)-1 || s4t.KindOf(err) != s4t.NotFound {
			return nil, err
		}
	}
	return typedParams(cmd, schema, base, pairs)
}

// readParams reads the JSON of a file.
func (a *app) readParams(file string) (json.RawMessage, error) {
	from := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, "read the parameters", "", "%w", err)
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, s4t.MaxCommandParams+1))
	switch {
	case err != nil:
		return nil, s4t.Errorf(s4t.Invalid, "read the parameters", "", "%w", err)
	case len(b) > s4t.MaxCommandParams:
		return nil, s4t.Errorf(s4t.Invalid, "read the parameters", "", "they are longer than %d bytes", s4t.MaxCommandParams)
	case !json.Valid(b):
		return nil, s4t.Errorf(s4t.Invalid, "read the parameters", "write an object: {\"times\": 3}", "%s is no JSON", strconv.Quote(file))
	}
	return b, nil
}

// runOne runs a command on one board and prints what it answers. It is begun within
// begin, and waited for within wait.
func (a *app) runOne(begin, wait context.Context, c *apiclient.Client, board, name string, o apiclient.RunOptions) error {
	run, err := c.RunCommand(begin, board, name, o)
	if err != nil {
		return err
	}
	if run.Pending == nil && !a.noWait {
		return a.printResult(run.Result)
	}
	if run.Pending == nil {
		op, err := c.Operation(begin, run.Operation)
		if err != nil {
			return err
		}
		return a.printOperation(op)
	}
	if a.noWait {
		return a.printOperation(*run.Pending)
	}
	op, err := a.awaitRun(wait, c, *run.Pending)
	if err != nil {
		return err
	}
	return a.printResult(op.Run.Result)
}

// awaitRun waits until a command has ended well.
func (a *app) awaitRun(ctx context.Context, c *apiclient.Client, op s4t.Operation) (s4t.Operation, error) {
	var onStep func(s4t.Step)
	if isTerminal(a.stderr) {
		if op.Status == s4t.OperationQueued && op.Run != nil {
			fmt.Fprintf(a.stderr, "board %s is away: the command is queued%s; Ctrl-C leaves it so\n", oneLine(op.Run.Board), untilText(op.Run.ExpiresAt))
		}
		onStep = func(s s4t.Step) { fmt.Fprintln(a.stderr, stepLine(s)) }
	}
	id := op.ID
	op, err := c.WaitOperation(ctx, id, onStep)
	if e, ok := errors.AsType[*s4t.Error](err); ok && ctx.Err() != nil {
		e.Hint += "; `s4t command cancel " + string(id) + "` ends it"
	}
	if err != nil {
		return op, err
	}
	if err := apiclient.Failed(op); err != nil {
		return op, err
	}
	if op.Run == nil {
		op.Run = &s4t.CommandRun{}
	}
	return op, nil
}

// untilText says a time that may be missing.
func untilText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " until " + t.Local().Format(time.DateTime)
}

// printResult prints a result: in tables text bare, all else as JSON.
func (a *app) printResult(result json.RawMessage) error {
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	if a.format == "table" || a.format == "name" {
		var text string
		if json.Unmarshal(result, &text) == nil && string(result) != "null" {
			_, err := fmt.Fprintln(a.stdout, plainText(text))
			return err
		}
	}
	return a.printData(result)
}
