package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func rolloutID(r s4t.Rollout) string { return string(r.ID) }

// fleetRollout is `s4t fleet rollout`.
func (a *app) fleetRollout() *cobra.Command {
	var req apiclient.RolloutCreate
	var pause time.Duration
	cmd := &cobra.Command{Use: "rollout FLEET PLUGIN [--version V] [--waves 1,10%,100%] [--max-failed 5%] [--pause 1m]", Short: "Bring a plugin to all boards of a fleet, wave after wave",
		Long: `Brings a version of a plugin to the boards that the fleet has now, wave after wave, and
stops by itself when too many of them fail. Boards that have the plugin are upgraded, on
the others it is injected. Without --timeout it waits until the rollout has ended or
stopped; the rollout goes on, whoever waits for it.`,
		Example: "  s4t fleet rollout lamps weather\n  s4t fleet rollout lamps weather --version 1.1 --waves 1,10%,100% --max-failed 5% --pause 5m", Args: exactly(2), ValidArgsFunction: a.completeFleets(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if _, err := s4t.ParseWaves("", req.Waves); err != nil {
			return usage(cmd, "--waves: %v", err)
		}
		if _, err := s4t.ParseShare("", req.MaxFailed); err != nil {
			return usage(cmd, "--max-failed: %v", err)
		}
		if pause < 0 || pause > s4t.MaxWavePause {
			return usage(cmd, "--pause %v is not between 0 and %v", pause, s4t.MaxWavePause)
		}
		seconds := s4t.Seconds((pause + time.Second - 1) / time.Second)
		req.Pause = &seconds
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Plugin = args[1]
		return a.followRollout(ctx, cmd, c, func() (s4t.Rollout, error) { return c.CreateRollout(ctx, args[0], req) })
	})
	f := cmd.Flags()
	f.StringVar(&req.Version, "version", "", "`V` (default the newest)")
	f.StringVar(&req.Waves, "waves", s4t.DefaultWaves, "how many boards have had their turn after each wave: `SIZES`, as numbers or percents")
	f.StringVar(&req.MaxFailed, "max-failed", s4t.DefaultFailing, "stop when more than `N` boards fail, or N% of those of the waves that have begun")
	f.DurationVar(&pause, "pause", s4t.DefaultPause, "between two waves: a `DURATION`")
	return cmd
}

func (a *app) rolloutCommand() *cobra.Command {
	list := a.withLimit(&cobra.Command{Use: "list", Short: "List rollouts, oldest first", Example: "  s4t rollout list", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			l, err := c.RolloutList().First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, rolloutID,
				column[s4t.Rollout]{"ID", rolloutID},
				column[s4t.Rollout]{"FLEET", func(r s4t.Rollout) string { return r.FleetName }},
				column[s4t.Rollout]{"PLUGIN", func(r s4t.Rollout) string { return r.PluginName + " " + r.Version }},
				column[s4t.Rollout]{"STATUS", func(r s4t.Rollout) string { return string(r.Status) }},
				column[s4t.Rollout]{"BOARDS", progressOf},
				column[s4t.Rollout]{"STARTED", func(r s4t.Rollout) string { return since(&r.CreatedAt) }})
		})})
	show := &cobra.Command{Use: "show ID", Short: "Show a rollout, its waves and boards", Example: "  s4t rollout show 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: a.completeRollouts(),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			r, err := c.Rollout(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printRollout(r)
		})}
	resume := &cobra.Command{Use: "resume ID", Short: "Go on with a rollout that stopped, and try again what failed", Example: "  s4t rollout resume 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1), ValidArgsFunction: a.completeRollouts()}
	resume.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		return a.followRollout(ctx, resume, c, func() (s4t.Rollout, error) { return c.ResumeRollout(ctx, args[0]) })
	})
	back := false
	abort := &cobra.Command{Use: "abort ID [--back]", Short: "End a rollout: nothing more is started", Example: "  s4t rollout abort 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11 --back", Args: exactly(1), ValidArgsFunction: a.completeRollouts()}
	abort.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		return a.followRollout(ctx, abort, c, func() (s4t.Rollout, error) { return c.AbortRollout(ctx, args[0], back) })
	})
	abort.Flags().BoolVar(&back, "back", false, "boards that were changed get again the version that they had; where they had none the plugin is removed")
	return newGroup("rollout", "Rollouts: plugins brought to fleets", "  s4t rollout list\n  s4t rollout resume ID", list, show, resume, abort)
}

// progressOf says how far a rollout is: "7 of 12 done, 1 failed".
func progressOf(r s4t.Rollout) string {
	var boards, done, failed int
	for _, w := range r.Waves {
		boards, done, failed = boards+w.Boards, done+w.Done, failed+w.Failed
	}
	text := fmt.Sprintf("%d of %d done", done, boards)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text
}

// settled reports whether nothing comes of a rollout by itself.
func settled(r s4t.Rollout) bool { return r.EndedAt != nil || r.Status == s4t.RolloutStopped }

// followRollout begins something with a rollout, waits until nothing comes of it by itself any more,
// and prints it.
func (a *app) followRollout(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, begin func() (s4t.Rollout, error)) error {
	if a.noWait {
		r, err := begin()
		if err != nil {
			return err
		}
		return a.printRollout(r)
	}
	wait, cancel := context.WithCancel(ctx)
	if cmd.Flags().Changed("timeout") {
		cancel()
		wait, cancel = context.WithTimeout(ctx, a.timeout)
	}
	defer cancel()
	events, err := c.Events(wait, apiclient.EventsOptions{}) // before it begins: nothing is missed
	if err != nil {
		return err
	}
	defer events.Close()
	r, err := begin()
	if err != nil {
		return err
	}
	if !settled(r) {
		for e := range events.All() {
			ours := e.Object == string(r.ID) && strings.HasPrefix(e.Kind, "rollout.")
			if ours && isTerminal(a.stderr) {
				text := strings.TrimPrefix(e.Kind, "rollout.")
				if e.Board != "" {
					text = "board " + e.Board
				}
				fmt.Fprintf(a.stderr, "%s  %s\n", oneLine(text), oneLine(e.Detail))
			}
			if e.Kind != apiclient.EventReset && (!ours || e.Board != "") {
				continue
			}
			if r, err = c.Rollout(ctx, string(r.ID)); err != nil {
				return err
			}
			if settled(r) {
				break
			}
		}
	}
	if !settled(r) {
		hint := fmt.Sprintf("see `s4t rollout show %s`", r.ID)
		if err := events.Err(); err != nil && wait.Err() == nil {
			return err
		}
		return s4t.Errorf(s4t.Timeout, "wait for rollout "+string(r.ID), hint, "nobody waits for it any more; it goes on")
	}
	if r, err = c.Rollout(ctx, string(r.ID)); err != nil { // with the boards as they are now
		return err
	}
	if err := a.printRollout(r); err != nil {
		return err
	}
	if r.Status == s4t.RolloutStopped {
		return s4t.Errorf(s4t.Failed, "roll out plugin "+r.PluginName+" to fleet "+r.FleetName, fmt.Sprintf("`s4t rollout resume %s` tries again, `s4t rollout abort %s --back` takes it back", r.ID, r.ID), "it stopped: %s", r.Reason)
	}
	return nil
}

func (a *app) printRollout(r s4t.Rollout) error {
	err := a.printOne(r, string(r.ID), field{"id", string(r.ID)}, field{"fleet", r.FleetName}, field{"plugin", r.PluginName + " " + r.Version}, field{"status", string(r.Status)}, field{"reason", r.Reason},
		field{"boards", progressOf(r)}, field{"max failed", r.MaxFailed}, field{"pause", r.Pause.Duration().String()}, field{"by", r.User}, field{"started", since(&r.CreatedAt)}, field{"goes on", since(r.GoesOn)}, field{"ended", since(r.EndedAt)})
	if err != nil || a.format != "table" {
		return err
	}
	fmt.Fprintln(a.stdout)
	err = printList(a, r.Waves, func(w s4t.RolloutWave) string { return strconv.Itoa(w.Number) },
		column[s4t.RolloutWave]{"WAVE", func(w s4t.RolloutWave) string { return strconv.Itoa(w.Number) }},
		column[s4t.RolloutWave]{"UP TO", func(w s4t.RolloutWave) string { return w.Size }},
		column[s4t.RolloutWave]{"BOARDS", func(w s4t.RolloutWave) string { return strconv.Itoa(w.Boards) }},
		column[s4t.RolloutWave]{"DONE", func(w s4t.RolloutWave) string { return strconv.Itoa(w.Done) }},
		column[s4t.RolloutWave]{"FAILED", func(w s4t.RolloutWave) string { return strconv.Itoa(w.Failed) }},
		column[s4t.RolloutWave]{"STATUS", func(w s4t.RolloutWave) string { return string(w.Status) }})
	if err != nil || len(r.Boards) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	return printList(a, r.Boards, func(b s4t.RolloutBoard) string { return b.Name },
		column[s4t.RolloutBoard]{"BOARD", func(b s4t.RolloutBoard) string { return b.Name }},
		column[s4t.RolloutBoard]{"WAVE", func(b s4t.RolloutBoard) string { return strconv.Itoa(b.Wave) }},
		column[s4t.RolloutBoard]{"STATUS", func(b s4t.RolloutBoard) string { return string(b.Status) }},
		column[s4t.RolloutBoard]{"BEFORE", func(b s4t.RolloutBoard) string { return b.Before }},
		column[s4t.RolloutBoard]{"ERROR", func(b s4t.RolloutBoard) string { return b.Error }})
}

func (a *app) completeRollouts() completer {
	return names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Rollout, error) { return c.RolloutList().All(ctx) }, rolloutID)
}
