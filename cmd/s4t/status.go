package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// showBoard prints a board with how it is. A cloud that does not tell that is older.
func (a *app) showBoard(ctx context.Context, c *apiclient.Client, b s4t.Board) error {
	if a.format != "table" {
		return a.printBoard(b)
	}
	h, err := c.BoardStatus(ctx, string(b.ID))
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return err
	}
	return a.printBoard(b, a.healthFields(h)...)
}

func (a *app) boardStatus() *cobra.Command {
	return &cobra.Command{Use: "status BOARD", Short: "Show how a board is, and was for 24 hours",
		Long:    "Show how a board is, and was for 24 hours: load, memory, disk, temperature, network, uptime, outages.\n\n`s4t board show` has it too; -o json has every point of the 24 hours.",
		Example: "  s4t board status kitchen\n  s4t board status kitchen -o json", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			h, err := c.BoardStatus(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printOne(h, h.Board, append([]field{{"name", h.Board}, {"status", string(h.Status)}}, a.healthFields(h)...)...)
		})}
}

func (a *app) boardOutages() *cobra.Command {
	cmd := &cobra.Command{Use: "outages BOARD", Short: "List when a board was away, and why", Example: "  s4t board outages kitchen\n  s4t board outages kitchen --limit 5 -o json",
		Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.OutageList(args[0]).First(ctx, a.limit)
			if err != nil {
				return err
			}
			return printList(a, l, func(o s4t.Outage) string { return o.Began.Format(time.RFC3339) },
				column[s4t.Outage]{"BEGAN", func(o s4t.Outage) string { return o.Began.Local().Format(time.DateTime) }},
				column[s4t.Outage]{"ENDED", func(o s4t.Outage) string {
					if o.Ended == nil {
						return "not yet"
					}
					return o.Ended.Local().Format(time.DateTime)
				}},
				column[s4t.Outage]{"REASON", outageReason},
				column[s4t.Outage]{"DETAIL", func(o s4t.Outage) string { return o.Detail }})
		})}
	return a.withLimit(cmd)
}

// outageReason is why a board was away, in words.
func outageReason(o s4t.Outage) string {
	if o.Likely {
		return "likely " + string(o.Reason)
	}
	return string(o.Reason)
}

// healthFields are how a board is, for people.
func (a *app) healthFields(h s4t.BoardHealth) (fields []field) {
	add := func(label, value string, history []*float64) {
		if line := a.sparkline(history); line != "" {
			value = fmt.Sprintf("%-26s  %s", value, line) // one below the other
		}
		fields = append(fields, field{label, value})
	}
	if now := h.Health; now != nil {
		then := h.History
		if then == nil {
			then = &s4t.HealthHistory{}
		}
		add("load", fmt.Sprintf("%.2f", now.Load1), then.Load1)
		add("memory", used(now.MemoryUsed, now.MemoryTotal), then.MemoryUsed)
		add("disk", used(now.DiskUsed, now.DiskTotal), then.DiskUsed)
		if now.Temperature != nil {
			add("temperature", fmt.Sprintf("%.1f degC", *now.Temperature), then.Temperature)
		}
		add("received", s4t.Bytes(uint64(now.ReceivedRate))+"/s", then.ReceivedRate)
		add("sent", s4t.Bytes(uint64(now.SentRate))+"/s", then.SentRate)
		fields = append(fields, field{"uptime", ran(now.Uptime) + ", lightning-rod " + ran(now.AgentUptime)}, field{"distribution", now.System}, field{"health of", since(h.At)})
	}
	if h.Availability != nil {
		fields = append(fields, field{"availability", fmt.Sprintf("%.2f %% of 30 days", math.Floor(*h.Availability*10000)/100)})
	}
	if len(h.Outages) > 0 {
		o := h.Outages[0]
		text := "since " + o.Began.Local().Format(time.DateTime)
		if o.Ended != nil {
			text = fmt.Sprintf("%s, for %s", since(&o.Began), o.Ended.Sub(o.Began).Round(time.Second))
		}
		fields = append(fields, field{"last outage", text + ": " + outageReason(o)})
	}
	return fields
}

// used says how much of something is used.
func used(n, of int64) string {
	if of <= 0 {
		return "not known"
	}
	return fmt.Sprintf("%s of %s (%d %%)", s4t.Bytes(uint64(n)), s4t.Bytes(uint64(of)), n*100/of)
}

// ran says seconds as people do.
func ran(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
	return d.String()
}

// sparkWidth is how many signs stand for a history.
const sparkWidth = 48

// sparkline draws a history, from its least to its greatest value; spaces are gaps,
// and empty is a history without any value. It is of ASCII where the terminal does not
// say that it takes UTF-8.
func (a *app) sparkline(history []*float64) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if !a.utf8() {
		levels = []rune("_.-=+*#")
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range history {
		if v != nil {
			low, high = min(low, *v), max(high, *v)
		}
	}
	if low > high {
		return ""
	}
	var line strings.Builder
	for i := range sparkWidth {
		sum, n := 0.0, 0
		for _, v := range history[i*len(history)/sparkWidth : (i+1)*len(history)/sparkWidth] {
			if v != nil {
				sum, n = sum+*v, n+1
			}
		}
		if n == 0 {
			line.WriteByte(' ')
			continue
		}
		level := 0
		if high > low {
			level = int((sum/float64(n) - low) / (high - low) * float64(len(levels)-1))
		}
		line.WriteRune(levels[min(max(level, 0), len(levels)-1)])
	}
	return line.String()
}

// utf8 reports whether the locale is one of UTF-8 (locale(7)).
func (a *app) utf8() bool {
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(a.env(key)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
