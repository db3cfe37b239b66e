package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) pinCommand() *cobra.Command {
	return newGroup("pin", "Pins: the inputs, outputs and sensors of boards", "  s4t pin list kitchen\n  s4t pin write kitchen gpio/gpiochip0/17 on --for 10s",
		a.pinList(), a.pinRead(), a.pinWrite(), a.pinWatch(), a.pinSet(), a.pinClaim(), a.pinRelease())
}

func (a *app) pinList() *cobra.Command {
	return a.withLimit(&cobra.Command{Use: "list BOARD", Short: "List the pins of a board", Example: "  s4t pin list kitchen\n  s4t pin list kitchen -o name", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.Pins(ctx, args[0])
			if err != nil {
				return err
			}
			if !l.Reported.IsZero() {
				fmt.Fprintf(a.stderr, "s4t: board %s is away: these are its pins as it told them %s\n", oneLine(args[0]), ago(l.Reported, time.Now()))
			}
			if a.limit > 0 && len(l.Pins) > a.limit {
				l.Pins = l.Pins[:a.limit]
			}
			return printList(a, l.Pins, pinName,
				column[s4t.Pin]{"NAME", pinName},
				column[s4t.Pin]{"LABEL", func(p s4t.Pin) string { return p.Label }},
				column[s4t.Pin]{"KIND", func(p s4t.Pin) string { return string(p.Kind) }},
				column[s4t.Pin]{"DIR", func(p s4t.Pin) string { return p.Direction }},
				column[s4t.Pin]{"VALUE", shortValue},
				column[s4t.Pin]{"AT", func(p s4t.Pin) string { return since(p.At) }},
				column[s4t.Pin]{"PERIOD", func(p s4t.Pin) string { return periodText(p.PeriodMS) }},
				column[s4t.Pin]{"LEASE", leaseText},
				column[s4t.Pin]{"SETTINGS", settingText},
				column[s4t.Pin]{"PROBLEM", func(p s4t.Pin) string { return p.Problem }})
		})})
}

func (a *app) pinRead() *cobra.Command {
	return &cobra.Command{Use: "read BOARD PIN...", Short: "Read pins", Example: "  s4t pin read kitchen sensor/hwmon0/temp1\n  s4t pin read kitchen door lamp -o json", Args: between(2, 1+s4t.MaxPinWatch), ValidArgsFunction: a.completePins(anyNumber),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.Pins(ctx, args[0], args[1:]...)
			if err != nil {
				return err
			}
			return printList(a, l.Pins, pinName,
				column[s4t.Pin]{"PIN", pinName},
				column[s4t.Pin]{"VALUE", func(p s4t.Pin) string { return number(p.Value) }},
				column[s4t.Pin]{"UNIT", unitText},
				column[s4t.Pin]{"AT", func(p s4t.Pin) string { return since(p.At) }})
		})}
}

func (a *app) pinWrite() *cobra.Command {
	var w apiclient.PinWrite
	var term time.Duration
	cmd := &cobra.Command{Use: "write BOARD PIN VALUE", Short: "Write a pin; --for a time, then it goes back to the value before",
		Example: "  s4t pin write kitchen lamp on\n  s4t pin write kitchen gpio/gpiochip0/17 1 --for 10s\n  s4t pin write kitchen gate off --for 1m --priority 10", Args: exactly(3), ValidArgsFunction: a.completePins(1)}
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		if w.Value, err = s4t.ParsePinValue(args[2]); err != nil {
			return err
		}
		w.For, err = termText(cmd, term)
		return firstError(err, checkPriority(cmd, w.Priority))
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		p, op, err := c.WritePin(ctx, args[0], args[1], w)
		if err != nil {
			return err
		}
		if op != nil {
			if !cmd.Flags().Changed("timeout") {
				a.timeout += term // it ends when the value goes back
			}
			if printed, err := a.await(ctx, c, *op, nil); printed || err != nil {
				return err
			}
			now, err := c.Pins(ctx, args[0], args[1])
			if err != nil || len(now.Pins) == 0 { // it is done, and then the board went away
				done, err := c.Operation(ctx, op.ID)
				if err != nil {
					return err
				}
				return a.printOperation(done)
			}
			p = &now.Pins[0]
		}
		return a.printPin(*p)
	})
	cmd.Flags().DurationVar(&term, "for", 0, "write the value for this `DURATION`, and wait until it is over (default for good)")
	cmd.Flags().IntVar(&w.Priority, "priority", 0, "`N`, 0 to 100: take the pin from who has it with a lower one")
	cmd.Flags().Int64Var(&w.Fence, "fence", 0, "write under the claim with this fence `N` only")
	return cmd
}

// negativeValue puts a value below zero where the parser of flags does not take it
// for one: behind "--", at the end.
func negativeValue(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || cmd.CommandPath() != "s4t pin write" || slices.Contains(args, "--") {
		return args
	}
	before := ""
	for i, arg := range args {
		if _, err := strconv.ParseFloat(arg, 64); err == nil && arg[0] == '-' {
			flag := cmd.Flag(strings.TrimPrefix(before, "--"))
			if !strings.HasPrefix(before, "--") || flag == nil || flag.NoOptDefVal != "" {
				return append(slices.Delete(slices.Clone(args), i, i+1), "--", arg)
			}
		}
		before = arg
	}
	return args
}

func (a *app) pinSet() *cobra.Command {
	var settings map[string]string
	cmd := &cobra.Command{Use: "set BOARD PIN KEY=VALUE...", Short: "Change settings of a pin: " + strings.Join(s4t.PinKeys, ", "),
		Example: "  s4t pin set kitchen gpio/gpiochip0/17 direction=in edge=both debounce=5ms label=door\n  s4t pin set kitchen temp period=1s deadband=0.5", Args: between(3, 2+len(s4t.PinKeys)), ValidArgsFunction: a.completeSettings}
	cmd.PreRunE = func(_ *cobra.Command, args []string) error {
		settings = map[string]string{}
		for _, s := range args[2:] {
			k, v, ok := strings.Cut(s, "=")
			if !ok {
				return usage(cmd, "%q is not KEY=VALUE", s)
			}
			if !slices.Contains(s4t.PinKeys, k) {
				return usage(cmd, "there is no setting %q: use %s", k, strings.Join(s4t.PinKeys, ", "))
			}
			settings[k] = v
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		p, err := c.SetPin(ctx, args[0], args[1], settings)
		if err != nil {
			return err
		}
		return a.printPin(p)
	})
	return cmd
}

func (a *app) pinClaim() *cobra.Command {
	var hold apiclient.PinHold
	var term time.Duration
	cmd := &cobra.Command{Use: "claim BOARD PIN", Short: "Claim a pin: others write it with a higher priority only",
		Example: "  s4t pin claim kitchen gate\n  s4t pin claim kitchen gate --for 1h --priority 5", Args: exactly(2), ValidArgsFunction: a.completePins(1)}
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		hold.For, err = termText(cmd, term)
		return firstError(err, checkPriority(cmd, hold.Priority))
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		p, err := c.ClaimPin(ctx, args[0], args[1], hold)
		if err != nil {
			return err
		}
		return a.printPin(p)
	})
	cmd.Flags().DurationVar(&term, "for", 10*time.Minute, "how long the claim lasts, a `DURATION` of at most 24h; claim again to extend it")
	cmd.Flags().IntVar(&hold.Priority, "priority", 0, "`N`, 0 to 100: take the pin from who has it with a lower one")
	return cmd
}

func (a *app) pinRelease() *cobra.Command {
	var priority int
	cmd := &cobra.Command{Use: "release BOARD PIN", Short: "Release a claim of a pin", Example: "  s4t pin release kitchen gate", Args: exactly(2), ValidArgsFunction: a.completePins(1)}
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkPriority(cmd, priority) }
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		p, err := c.ReleasePin(ctx, args[0], args[1], priority)
		if err != nil {
			return err
		}
		return a.printPin(p)
	})
	cmd.Flags().IntVar(&priority, "priority", 0, "`N`, 0 to 100: release another's claim, which has a lower one")
	return cmd
}

func (a *app) pinWatch() *cobra.Command {
	var o apiclient.PinsOptions
	cmd := &cobra.Command{Use: "watch BOARD [PIN...]", Short: "Show each sample of pins, one line each, until interrupted",
		Example: "  s4t pin watch kitchen door\n  s4t pin watch kitchen temp --history 1h -o json | jq .value", Args: between(1, 1+s4t.MaxPinWatch), ValidArgsFunction: a.completePins(anyNumber)}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.Since < 0 {
			return usage(cmd, "--history %v is not back from now", o.Since)
		}
		return nil
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		if cmd.Flags().Changed("timeout") {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		o.Pins = args[1:]
		stream, err := c.WatchPins(ctx, args[0], o)
		if err != nil {
			return err
		}
		defer stream.Close()
		for m := range stream.All() {
			if m.Notice != nil {
				a.noticeBoard(*m.Notice)
				continue
			}
			if err := a.printSample(m.Sample); err != nil {
				return err
			}
		}
		return stream.Err()
	})
	cmd.Flags().DurationVar(&o.Since, "history", 0, "begin with the samples of this `DURATION` until now")
	return cmd
}

// noticeBoard says on standard error why no samples come, or that they do again.
func (a *app) noticeBoard(n apiclient.PinNotice) {
	text := n.Detail
	switch {
	case n.Status == s4t.BoardOnline && text == "":
		text = "samples of board " + n.Board + " come again"
	case text == "":
		text = "board " + n.Board + " is " + string(n.Status)
	default:
		text += "; waiting for it"
	}
	fmt.Fprintf(a.stderr, "s4t: %s\n", oneLine(text))
}

// printSample prints one sample on one line; as YAML, one document.
func (a *app) printSample(s s4t.Sample) error {
	switch a.format {
	case "json":
		b, err := json.Marshal(s)
		if err != nil {
			return s4t.Errorf(s4t.Internal, "print a sample", "", "%w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		return err
	case "yaml":
		if err := a.printData(s); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.stdout, "---")
		return err
	case "name":
		_, err := fmt.Fprintln(a.stdout, oneLine(s.Pin))
		return err
	}
	merged := ""
	if s.Merged > 0 {
		merged = fmt.Sprintf("  (%d merged)", s.Merged)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %s%s\n", s.At.Local().Format("15:04:05.000"), oneLine(s.Pin), s4t.FormatPinValue(s.Value), merged)
	return err
}

func (a *app) printPin(p s4t.Pin) error {
	writable := ""
	if p.Writable {
		writable = "yes"
	}
	fence := ""
	if p.Lease != nil {
		fence = strconv.FormatInt(p.Lease.Fence, 10)
	}
	return a.printOne(p, p.Name, field{"name", p.Name}, field{"label", p.Label}, field{"kind", string(p.Kind)}, field{"direction", p.Direction}, field{"writable", writable},
		field{"value", valueText(p)}, field{"at", since(p.At)}, field{"period", periodText(p.PeriodMS)}, field{"lease", leaseText(p)}, field{"fence", fence},
		field{"settings", settingText(p)}, field{"guarantee", p.Guarantee}, field{"problem", p.Problem})
}

func pinName(p s4t.Pin) string { return p.Name }

// number is a value that may be missing.
func number(v *float64) string {
	if v == nil {
		return "-"
	}
	return s4t.FormatPinValue(*v)
}

// valueText is the value of a pin with its unit.
func valueText(p s4t.Pin) string {
	if p.Value == nil || p.Unit == "" {
		return number(p.Value)
	}
	return number(p.Value) + " " + unitText(p)
}

// shortValue is valueText with as many digits as a list needs.
func shortValue(p s4t.Pin) string {
	if p.Value == nil {
		return number(nil)
	}
	return strings.TrimRight(strconv.FormatFloat(*p.Value, 'g', 6, 64)+" "+unitText(p), " ")
}

// unitText is a unit (of RFC 8428, section 12.1) as people write it.
func unitText(p s4t.Pin) string {
	switch p.Unit {
	case "Cel":
		return "°C"
	case "Ohm":
		return "Ω"
	case "%RH":
		return "% RH"
	}
	return p.Unit
}

// periodText says a period as people do; none is "".
func periodText(ms float64) string {
	if ms <= 0 {
		return ""
	}
	return time.Duration(ms * float64(time.Millisecond)).String()
}

// leaseText says who has a pin, and until when.
func leaseText(p s4t.Pin) string {
	if p.Lease == nil {
		return ""
	}
	text := p.Lease.Holder
	if p.Lease.Priority > 0 {
		text += " (priority " + strconv.Itoa(p.Lease.Priority) + ")"
	}
	return text + ", ends " + ago(p.Lease.Until, time.Now())
}

// unset are values of settings that do nothing.
var unset = map[string]string{
	s4t.PinKeyDebounce: "0s", s4t.PinKeyDeadband: "0", s4t.PinKeyScale: "1", s4t.PinKeyBias: "as-is", s4t.PinKeyEdge: "none", s4t.PinKeyFallback: s4t.FallbackHold,
}

// settingText are the settings that do something, and have no column of their
// own.
func settingText(p s4t.Pin) string {
	var l []string
	for _, k := range s4t.PinKeys {
		if v := p.Settings[k]; v != "" && v != unset[k] && k != s4t.PinKeyDirection && k != s4t.PinKeyLabel && k != s4t.PinKeyPeriod {
			l = append(l, k+"="+v)
		}
	}
	return strings.Join(l, " ")
}

// termText is --for, as the API takes it.
func termText(c *cobra.Command, term time.Duration) (string, error) {
	switch {
	case term == 0 && !c.Flags().Changed("for"):
		return "", nil
	case term <= 0 || term > s4t.MaxActuation:
		return "", usage(c, "--for %v is not between 0 and %v", term, s4t.MaxActuation)
	}
	return term.String(), nil
}

func checkPriority(c *cobra.Command, n int) error {
	if n < 0 || n > s4t.MaxPriority {
		return usage(c, "--priority %d is not between 0 and %d", n, s4t.MaxPriority)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// completePins offers boards, then up to n pins of the board.
func (a *app) completePins(n int) completer {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeBoards(1)(cmd, args, prefix)
		}
		list := func(ctx context.Context, c *apiclient.Client) ([]s4t.Pin, error) {
			l, err := c.Pins(ctx, args[0])
			return l.Pins, err
		}
		return names(a, 1+n, list, pinName)(cmd, args, prefix)
	}
}

// completeSettings offers boards, a pin, then keys.
func (a *app) completeSettings(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) < 2 {
		return a.completePins(1)(cmd, args, prefix)
	}
	var out []string
	for _, k := range s4t.PinKeys {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k+"=")
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
