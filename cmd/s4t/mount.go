package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/pinfs"
)

func (a *app) mountCommand() *cobra.Command {
	var boards []string
	var fleet string
	cmd := &cobra.Command{Use: "mount DIR", Short: "Show the pins of boards as files, until interrupted or unmounted",
		Long: `The pins of boards as files: DIR/BOARD/DRIVER/DEVICE/PIN/value, and DIR/BOARD/by-name/NAME
for a pin's name or label. Reading value gives the newest value, writing acts, and poll(2)
wakes for each edge or sample. A file of a board that is away says EHOSTUNREACH.`,
		Example: "  s4t mount /tmp/boards\n  s4t mount /tmp/boards --board kitchen --board garden\n  s4t mount /tmp/lamps --fleet lamps", Args: exactly(1)}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if fleet != "" { // its members now
			members, err := fleetOf(ctx, c, fleet)
			if err != nil {
				return err
			}
			if boards = append(boards, members...); len(boards) == 0 {
				return s4t.Errorf(s4t.NotFound, "mount fleet "+strconv.Quote(fleet), "see `s4t fleet show "+fleet+"`", "it has no boards")
			}
		}
		return a.mount(ctx, c, args[0], boards)
	})
	cmd.Flags().StringArrayVar(&boards, "board", nil, "this `BOARD` only; may be repeated")
	cmd.Flags().StringVar(&fleet, "fleet", "", "the boards that are of this `FLEET` now")
	cmd.RegisterFlagCompletionFunc("fleet", a.completeFleets(anyNumber))
	cmd.RegisterFlagCompletionFunc("board", a.completeBoards(anyNumber))
	return cmd
}

// mount serves the tree until ctx ends, somebody unmounts it, or the cloud does
// not let us watch any more.
func (a *app) mount(ctx context.Context, c *apiclient.Client, dir string, boards []string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	source, err := newMountSource(ctx, c, boards)
	if err != nil {
		return err
	}
	server, err := pinfs.Mount(pinfs.Config{Dir: dir, Source: source, Name: "s4t", Log: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "mounted %s: %d boards; Ctrl-C ends it\n", oneLine(dir), len(source.Tree().Boards))
	var following sync.WaitGroup
	var lost error
	following.Go(func() {
		defer stop()
		if err := source.follow(); ctx.Err() == nil {
			lost = err
		}
	})
	err = server.Serve(ctx)
	stop()
	following.Wait()
	source.done.Wait()
	if err == nil {
		err = lost
	}
	return err
}
