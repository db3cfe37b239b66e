package main

import (
	"cmp"
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) recordingCommand() *cobra.Command {
	id := func(r s4t.Recording) string { return string(r.ID) }
	complete := names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Recording, error) { return c.Recordings(ctx) }, id)
	return newGroup("recording", "Recordings of terminals, for the project's managers", "  s4t recording list\n  s4t recording show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11 > kitchen.cast",
		a.withLimit(&cobra.Command{Use: "list", Short: "List recordings, oldest first", Example: "  s4t recording list", Args: exactly(0),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
				l, err := c.RecordingList().First(ctx, a.limit)
				if err != nil {
					return err
				}
				return printList(a, l, id,
					column[s4t.Recording]{"ID", id},
					column[s4t.Recording]{"BOARD", func(r s4t.Recording) string { return r.Board }},
					column[s4t.Recording]{"USER", func(r s4t.Recording) string { return r.User }},
					column[s4t.Recording]{"SHELL OF", func(r s4t.Recording) string { return r.ShellOf }},
					column[s4t.Recording]{"FROM", func(r s4t.Recording) string { return cmp.Or(r.Origin, "s4t") }},
					column[s4t.Recording]{"STARTED", func(r s4t.Recording) string { return since(&r.StartedAt) }},
					column[s4t.Recording]{"ENDED", func(r s4t.Recording) string { return since(r.EndedAt) }},
					column[s4t.Recording]{"BYTES", func(r s4t.Recording) string { return strconv.FormatInt(r.Bytes, 10) }})
			})}),
		&cobra.Command{Use: "show ID", Short: "Write a recording to standard output, as asciicast v2", Example: "  s4t recording show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11 > kitchen.cast", Args: exactly(1), ValidArgsFunction: complete,
			Long: `Writes what the shell of a terminal wrote until now to standard output, in the format
asciicast v2, which asciinema and others play. That it was read is in the audit.`,
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				return c.ReadRecording(ctx, args[0], a.stdout)
			})},
		&cobra.Command{Use: "delete ID", Short: "Delete a recording", Example: "  s4t recording delete 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: complete,
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				if err := c.DeleteRecording(ctx, args[0]); err != nil {
					return err
				}
				return a.printGone(s4t.Recording{ID: s4t.RecordingID(args[0])}, "Recording", args[0])
			})})
}

// recorded says what of a project's boards is recorded.
func recorded(p s4t.Project) string {
	if p.RecordTerminals {
		return "terminals"
	}
	return "nothing"
}
