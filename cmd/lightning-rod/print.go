package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/wire"
)

// What is printed of the board and of the cloud's words is one line each, and
// commands no terminal ([s4t.Line], [s4t.PlainJSON]).

func status(ctx context.Context, o options) error {
	s, err := lightningrod.ReadStatus(ctx, o.state)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(o.stdout, s)
	}
	connection := "not running"
	switch {
	case s.Connected:
		connection = "connected"
	case s.Running:
		connection = "not connected"
	}
	t := newTable(o.stdout)
	t.row("board", s.Board)
	t.row("id", string(s.ID))
	t.row("cloud", s.URL+", "+connection)
	t.row("generation", fmt.Sprintf("%d, applied %d", s.Generation, s.AppliedGeneration))
	if s.ReadOnly {
		t.row("state", "read-only: "+o.state)
	}
	for _, p := range s.Ports {
		state := "up"
		if !p.Up {
			state = "down: " + p.Problem
		}
		t.row("port", p.Interface+" "+strings.Join(p.Addresses, " ")+" "+state)
	}
	for _, v := range s.Services {
		state := ""
		switch {
		case v.ProblemID == wire.TargetRefused:
			state = " " + v.Problem
		case v.Problem != "":
			state = " down: " + v.Problem
		}
		t.row("service", net.JoinHostPort(v.Target, strconv.Itoa(v.TCPPort))+state)
	}
	if s.IO != nil {
		where := "no tree of files"
		if s.IO.Dir != "" {
			where = "at " + s.IO.Dir
		}
		t.row("pins", fmt.Sprintf("%d, %s", s.IO.Pins, where))
	}
	for _, p := range s.Plugins {
		state := p.State
		if p.Problem != "" {
			state += ": " + p.Problem
		}
		t.row("plugin", p.Name+" "+p.Version+" "+state)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Runtimes)) {
		t.row("runtime", name+" "+s.Runtimes[name])
	}
	if len(s.Commands) > 0 {
		t.row("commands", strings.Join(s.Commands, " "))
	}
	if s.Runs != nil && *s.Runs != (lightningrod.RunsStatus{}) {
		t.row("runs", fmt.Sprintf("%d at work, %d that the cloud has not heard of", s.Runs.Running, s.Runs.Unheard))
	}
	for _, p := range s.Problems {
		t.row("problem", p)
	}
	return t.Flush()
}

// table is what people read.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = s4t.Line(c, maxLine)
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

func doctor(ctx context.Context, o options) error {
	ca, err := o.extraCA()
	if err != nil {
		return err
	}
	cfg := lightningrod.DoctorConfig{State: o.state, Proxy: o.proxy, ExtraCA: ca}
	if len(o.args) == 1 {
		cfg.Target = o.args[0]
	}
	findings, err := lightningrod.Doctor(ctx, cfg)
	if err != nil {
		return err
	}
	if o.output == "json" {
		if err := printJSON(o.stdout, findings); err != nil {
			return err
		}
	} else {
		printFindings(o.stdout, findings)
	}
	for _, f := range findings {
		if f.Level == wire.LevelError {
			return s4t.Errorf(s4t.Internal, "examine this board", "see above", "something stands between it and the cloud")
		}
	}
	return nil
}

func printFindings(w io.Writer, findings []wire.Finding) {
	t := newTable(w)
	for _, f := range findings {
		cause := f.Cause
		if f.Level != wire.LevelOK && !f.Certain {
			cause = "likely: " + cause
		}
		t.row(f.Check, f.Level, cause)
		if f.Cure != "" {
			t.row("", "", "-> "+f.Cure)
		}
	}
	t.Flush()
}

func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(s4t.PlainJSON(b.Bytes()))
	return err
}
