// Package profiletable says the profile of a board and what was used of it as people
// read it: the same on the board and at the cloud.
package profiletable

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// given are what is given of a board, in the order in which it is shown.
var given = []struct {
	what string
	of   func(s4t.Profile) string
}{
	{"cpu", func(p s4t.Profile) string { return p.CPU }},
	{"memory", func(p s4t.Profile) string { return p.Memory }},
	{"disk", func(p s4t.Profile) string { return p.Disk }},
	{"bandwidth", func(p s4t.Profile) string { return p.Bandwidth }},
}

// Limits are the rows of what a board's owner gives and what enforces it, with their head.
func Limits(p s4t.BoardProfile) [][]string {
	rows := [][]string{{"WHAT", "GIVEN", "ENFORCED BY"}}
	left := maps.Clone(p.Enforced)
	for _, g := range given {
		rows = append(rows, []string{g.what, cmp.Or(g.of(p.Profile), "no limit"), cmp.Or(p.Enforced[g.what], "-")})
		delete(left, g.what)
	}
	hours := []string{"hours", strings.TrimSpace(cmp.Or(p.Hours, "no limit") + " " + p.Zone), "-"}
	if p.Hours != "" {
		hours[2] = "lightning-rod"
	}
	rows = append(rows, hours)
	if p.Notice != "" {
		rows = append(rows, []string{"notice", p.Notice, "lightning-rod"})
	}
	for _, what := range slices.Sorted(maps.Keys(left)) {
		rows = append(rows, []string{what, "", left[what]})
	}
	return rows
}

// Now says whether others may use the board.
func Now(p s4t.BoardProfile) string {
	at := func(t *time.Time) string { return t.Local().Format(time.DateTime) }
	switch {
	case p.Open && p.Closing != nil:
		return "open, closes at " + at(p.Closing)
	case p.Open && p.ChangesAt != nil:
		return "open until " + at(p.ChangesAt)
	case p.Open:
		return "open"
	case p.ChangesAt != nil:
		return "closed until " + at(p.ChangesAt)
	}
	return "closed: the board does not know the time"
}

// Usage are the rows of what was used, by project, with their head; none where nothing
// was.
func Usage(all []s4t.Usage) [][]string {
	if len(all) == 0 {
		return nil
	}
	rows := [][]string{{"USED BY", "SINCE", "PROCESSOR", "MEMORY", "RECEIVED", "SENT", "SAMPLES", "COMMANDS"}}
	for _, u := range all {
		rows = append(rows, []string{
			project(u), u.Since.Local().Format(time.DateTime), processor(u.CPUSeconds), s4t.Bytes(uint64(max(u.MemoryHours, 0))) + " h",
			s4t.Bytes(uint64(max(u.BytesReceived, 0))), s4t.Bytes(uint64(max(u.BytesSent, 0))), strconv.FormatInt(u.Samples, 10), strconv.FormatInt(u.Commands, 10),
		})
	}
	return rows
}

// project names a project: a board knows its id only.
func project(u s4t.Usage) string {
	switch {
	case u.ProjectName != "":
		return u.ProjectName
	case u.Project == "":
		return "the board's own project"
	}
	return "project " + string(u.Project[:min(len(u.Project), 8)])
}

// processor says seconds of the processor.
func processor(seconds float64) string {
	if seconds < 60 {
		return fmt.Sprintf("%.1fs", max(seconds, 0))
	}
	return time.Duration(min(seconds, 1e9) * float64(time.Second)).Round(time.Second).String()
}
