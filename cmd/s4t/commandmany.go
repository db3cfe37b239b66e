package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// waitTogether is how many operations of one command are waited for at a time.
const waitTogether = 8

// runMany runs a command on many boards, and prints a result for each; see runOne.
func (a *app) runMany(begin, wait context.Context, c *apiclient.Client, r *runFlags, name string, o apiclient.RunOptions) error {
	results, err := c.RunCommands(begin, r.fleet, r.boards, name, o)
	if err != nil {
		return err
	}
	var waiting errgroup.Group
	waiting.SetLimit(waitTogether)
	for i := range results {
		if results[i].Operation == "" || results[i].Status.Ended() || a.noWait {
			continue
		}
		waiting.Go(func() error {
			op, err := c.WaitOperation(wait, results[i].Operation, nil)
			if err == nil {
				results[i] = apiclient.ResultOf(op)
			}
			return err
		})
	}
	late := waiting.Wait()
	board := func(r apiclient.CommandResult) string { return r.Board }
	if err := printList(a, results, board,
		column[apiclient.CommandResult]{"BOARD", board},
		column[apiclient.CommandResult]{"STATUS", func(r apiclient.CommandResult) string { return string(r.Status) }},
		column[apiclient.CommandResult]{"RESULT", resultText}); err != nil {
		return err
	}
	if late != nil {
		return late
	}
	return worst(name, results)
}

// resultText is a result, or why there is none, on one line; of one that has not ended,
// its operation.
func resultText(r apiclient.CommandResult) string {
	switch {
	case r.Error != "":
		return r.Error
	case r.Operation != "" && !r.Status.Ended():
		return "operation " + string(r.Operation)
	}
	var text string
	if json.Unmarshal(r.Result, &text) == nil {
		return text
	}
	return string(r.Result)
}

// worst is the error of a command of which not all boards have a result. It has
// the kind that all have in common, if any.
func worst(name string, results []apiclient.CommandResult) error {
	var failed []string
	kind := s4t.Kind("")
	for _, r := range results {
		if !r.Status.Ended() || r.Status == s4t.OperationSucceeded {
			continue
		}
		if failed = append(failed, r.Board); len(failed) > 1 && kind != r.ErrorKind {
			kind = s4t.Failed
		} else {
			kind = r.ErrorKind
		}
	}
	if len(failed) == 0 {
		return nil
	}
	if len(failed) < len(results) || kind == "" {
		kind = s4t.Failed
	}
	names := strings.Join(failed[:min(len(failed), 5)], ", ")
	if len(failed) > 5 {
		names += ", ..."
	}
	return s4t.Errorf(kind, "run command "+strconv.Quote(name), "", "%d of %d boards have not done it: %s", len(failed), len(results), names)
}

// runStream runs a command and prints what it says, and then its result, where that
// is not what it said last; see runOne.
func (a *app) runStream(begin, wait context.Context, c *apiclient.Client, board, name string, o apiclient.RunOptions) error {
	ctx, hangUp := context.WithCancel(begin)
	defer hangUp()
	s, err := c.StreamCommand(ctx, board, name, o)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(wait, hangUp)
	defer stop()
	var last json.RawMessage
	printResult := func(op s4t.Operation) error {
		if op.Run == nil || last != nil && bytes.Equal(last, op.Run.Result) {
			return nil
		}
		return a.printResult(op.Run.Result)
	}
	for m := range s.All() {
		switch {
		case m.Output != nil:
			last = m.Output
			if err := a.printOutput(m.Output); err != nil {
				return err
			}
		case !m.Ended && isTerminal(a.stderr):
			fmt.Fprintln(a.stderr, string(m.Operation.Status))
		case m.Ended:
			if err := apiclient.Failed(*m.Operation); err != nil {
				return err
			}
			return printResult(*m.Operation)
		}
	}
	// The connection has ended, the command has not.
	op, err := a.awaitRun(wait, c, s4t.Operation{ID: s.Operation})
	if err != nil {
		return err
	}
	return printResult(op)
}

// printOutput prints what a command says, on one line.
func (a *app) printOutput(b json.RawMessage) error {
	var text string
	if a.format != "json" && json.Unmarshal(b, &text) == nil && string(b) != "null" {
		_, err := fmt.Fprintln(a.stdout, plainText(text))
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", s4t.PlainJSON(b))
	return err
}

// plainText is text of a board, of several lines perhaps, without what commands a
// terminal. Nothing else of it is lost.
func plainText(text string) string {
	text = strings.TrimRight(strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\r\n", "\n"), "\n")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || s4t.Prints(r) {
			return r
		}
		return ' '
	}, text)
}

// completeCommands offers boards, and then the commands of the board.
func (a *app) completeCommands(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeBoards(1)(cmd, args, prefix)
	}
	list := func(ctx context.Context, c *apiclient.Client) ([]s4t.Command, error) { return c.Commands(ctx, args[0]) }
	return names(a, 2, list, func(c s4t.Command) string { return c.Name })(cmd, args, prefix)
}
