package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) eventCommand() *cobra.Command {
	var after int64
	watch := &cobra.Command{Use: "watch", Short: "Show what happens, one line each, until interrupted", Example: "  s4t event watch\n  s4t event watch -o json | jq .kind", Args: exactly(0)}
	watch.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
		if watch.Flags().Changed("timeout") {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		events, err := c.Events(ctx, apiclient.EventsOptions{After: after})
		if err != nil {
			return err
		}
		defer events.Close()
		for e := range events.All() {
			if err := a.printEvent(e); err != nil {
				return err
			}
		}
		return events.Err()
	})
	watch.Flags().Int64Var(&after, "after", 0, "begin with what came after the event of this `ID` (default from now on)")
	return newGroup("event", "Events: what happens", "  s4t event watch", watch)
}

// printEvent prints one event on one line; as YAML, one document.
func (a *app) printEvent(e s4t.Event) error {
	switch a.format {
	case "json":
		b, err := json.Marshal(e)
		if err != nil {
			return s4t.Errorf(s4t.Internal, "print an event", "", "%w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		return err
	case "yaml":
		if err := a.printData(e); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.stdout, "---")
		return err
	case "name":
		_, err := fmt.Fprintln(a.stdout, oneLine(e.Kind))
		return err
	}
	who := e.Name
	if e.Board != "" && e.Board != e.Name {
		who = strings.TrimSpace(who + " on " + e.Board)
	}
	_, err := fmt.Fprintln(a.stdout, strings.TrimRight(fmt.Sprintf("%s  %-20s  %-24s  %s", e.At.Local().Format("15:04:05.000"), oneLine(e.Kind), oneLine(who), oneLine(e.Detail)), " "))
	return err
}

func (a *app) auditCommand() *cobra.Command {
	var board string
	var back time.Duration
	list := a.withLimit(&cobra.Command{Use: "list", Short: "Who did what to which object, oldest first", Example: "  s4t audit list --since 1h\n  s4t audit list --board kitchen -o json", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.AuditList(board, back).First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, func(r s4t.AuditRecord) string { return r.Action },
				column[s4t.AuditRecord]{"TIME", func(r s4t.AuditRecord) string { return r.At.Local().Format(time.DateTime) }},
				column[s4t.AuditRecord]{"USER", func(r s4t.AuditRecord) string { return r.User }},
				column[s4t.AuditRecord]{"ACTION", func(r s4t.AuditRecord) string { return r.Action }},
				column[s4t.AuditRecord]{"NAME", func(r s4t.AuditRecord) string { return r.Name }},
				column[s4t.AuditRecord]{"OBJECT", func(r s4t.AuditRecord) string { return r.Object }},
				column[s4t.AuditRecord]{"OUTCOME", func(r s4t.AuditRecord) string { return r.Outcome }},
				column[s4t.AuditRecord]{"DETAIL", func(r s4t.AuditRecord) string { return r.Detail }})
		})})
	list.PreRunE = func(*cobra.Command, []string) error {
		if back < 0 {
			return usage(list, "--since %v is not back from now", back)
		}
		return nil
	}
	list.Flags().StringVar(&board, "board", "", "records about this `BOARD`")
	list.Flags().DurationVar(&back, "since", 0, "records of this `DURATION` until now (default all)")
	list.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return newGroup("audit", "The audit: who did what", "  s4t audit list --since 1h", list, a.auditHeadCommand(), a.auditVerifyCommand())
}
