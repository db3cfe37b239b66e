package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/profiletable"
	"github.com/stack4things/s4t/lightningrod"
)

// profileLimits are what the owner of a board can say of it.
var profileLimits = []struct {
	flag, help string
	of         func(*s4t.Profile) *string
}{
	{"cpu", "`share` of the processor for code of others: 25% of one, 150%, 0.25", func(p *s4t.Profile) *string { return &p.CPU }},
	{"memory", "`bytes` of memory for it, with K, M or G of 1024", func(p *s4t.Profile) *string { return &p.Memory }},
	{"disk", "`bytes` that it may keep", func(p *s4t.Profile) *string { return &p.Disk }},
	{"bandwidth", "`bits` a second, each way, of all that others move, with K, M or G of 1000", func(p *s4t.Profile) *string { return &p.Bandwidth }},
	{"hours", "`windows` in which others may use the board: \"Mon-Fri 18:00-08:00, Sat-Sun\"", func(p *s4t.Profile) *string { return &p.Hours }},
	{"zone", "IANA `name` of the time zone of --hours: Europe/Rome", func(p *s4t.Profile) *string { return &p.Zone }},
	{"notice", "`time` between the word that it closes and the close; default 60s", func(p *s4t.Profile) *string { return &p.Notice }},
}

var profileFlags = func() (names []string) {
	for _, p := range profileLimits {
		names = append(names, p.flag)
	}
	return names
}()

// profileFlag is one of the flags of profile set; an empty one takes a limit away too.
type profileFlag struct {
	said map[string]string
	name string
}

func (f profileFlag) String() string { return "" }
func (f profileFlag) Type() string   { return "string" }
func (f profileFlag) Set(text string) error {
	if text == "none" {
		text = ""
	}
	f.said[f.name] = text
	return nil
}

// profile shows what the board gives to others, or sets it.
func profile(ctx context.Context, o options) error {
	verb := "show"
	if len(o.args) == 1 {
		verb = o.args[0]
	}
	switch {
	case verb != "show" && verb != "set":
		return usagef("use `lightning-rod profile show` or `set`, not %q", verb)
	case verb == "show" && len(o.profile) > 0:
		return usagef("`lightning-rod profile set` takes --%s", slices.Sorted(maps.Keys(o.profile))[0])
	case verb == "set" && len(o.profile) == 0:
		return usagef("say what to set: --cpu, --memory, --disk, --bandwidth, --hours, --zone or --notice")
	}
	var b s4t.BoardProfile
	var err error
	if verb == "set" {
		b, err = lightningrod.SetProfile(ctx, o.state, func(p *s4t.Profile) {
			for _, l := range profileLimits {
				if text, said := o.profile[l.flag]; said {
					*l.of(p) = text
				}
			}
		})
	} else {
		b, err = lightningrod.ReadProfile(ctx, o.state)
	}
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(o.stdout, b)
	}
	now := profiletable.Now(b)
	if len(b.Enforced) == 0 {
		now = "lightning-rod does not run: it follows when it starts"
	}
	for i, rows := range [][][]string{profiletable.Limits(b), {{"now", now}}, profiletable.Usage(b.Usage)} {
		if len(rows) == 0 {
			continue
		}
		t := newTable(o.stdout)
		if i > 0 {
			fmt.Fprintln(t)
		}
		for _, r := range rows {
			t.row(r...)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
