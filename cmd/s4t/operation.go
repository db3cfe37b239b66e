package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) operationCommand() *cobra.Command {
	show := &cobra.Command{Use: "show ID", Short: "Show an operation and its steps", Example: "  s4t operation show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: a.completeOperations(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			op, err := c.Operation(ctx, s4t.OperationID(args[0]))
			if err != nil {
				return err
			}
			return a.printOperation(op)
		})}
	watch := &cobra.Command{Use: "watch ID", Short: "Show the steps of an operation as they happen, until it has ended", Example: "  s4t operation watch 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: a.completeOperations()}
	watch.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if watch.Flags().Changed("timeout") {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		var onStep func(s4t.Step)
		if a.format == "table" {
			onStep = func(s s4t.Step) { fmt.Fprintln(a.stdout, stepLine(s)) }
		}
		op, err := c.WaitOperation(ctx, s4t.OperationID(args[0]), onStep)
		if err != nil {
			return err
		}
		if a.format != "table" {
			if err := a.printOperation(op); err != nil {
				return err
			}
		}
		return apiclient.Failed(op)
	})
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List operations", Example: "  s4t operation list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.OperationList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			id := func(o s4t.Operation) string { return string(o.ID) }
			return printList(a, l, id,
				column[s4t.Operation]{"ID", id},
				column[s4t.Operation]{"KIND", func(o s4t.Operation) string { return o.Kind }},
				column[s4t.Operation]{"STATUS", func(o s4t.Operation) string { return string(o.Status) }},
				column[s4t.Operation]{"STARTED", func(o s4t.Operation) string { return since(&o.CreatedAt) }},
				column[s4t.Operation]{"TOOK", took},
				column[s4t.Operation]{"ERROR", func(o s4t.Operation) string { return o.Error }})
		})})
	return newGroup("operation", "Operations: changes, step by step", "  s4t operation list", list, show, watch)
}

// took says how long an operation that has ended took.
func took(o s4t.Operation) string {
	if o.EndedAt == nil {
		return ""
	}
	return millis(float64(o.EndedAt.Sub(o.CreatedAt).Microseconds()) / 1000)
}

func (a *app) printOperation(o s4t.Operation) error {
	fields := []field{{"id", string(o.ID)}, {"kind", o.Kind}, {"object", o.Object}, {"status", string(o.Status)}, {"error", o.Error}, {"started", since(&o.CreatedAt)}, {"took", took(o)}}
	if r := o.Run; r != nil {
		fields = append(fields, field{"board", r.Board}, field{"command", r.Command}, field{"params", string(r.Params)}, field{"result", string(r.Result)}, field{"key", r.Key}, field{"expires", since(r.ExpiresAt)})
	}
	err := a.printOne(o, string(o.ID), fields...)
	if err != nil || a.format != "table" || len(o.Steps) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	return printList(a, o.Steps, func(s s4t.Step) string { return s.Name },
		column[s4t.Step]{"STEP", func(s s4t.Step) string { return strconv.Itoa(s.Number) }},
		column[s4t.Step]{"NAME", func(s s4t.Step) string { return s.Name }},
		column[s4t.Step]{"TOOK", func(s s4t.Step) string { return millis(s.TookMS) }})
}
