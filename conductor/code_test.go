package conductor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// keptCode is the copy of a board's code.
func (l *lab) keptCode(f *fakeBoard) (code boardCode) {
	l.t.Helper()
	if err := l.db.View(l.t.Context(), func(tx *store.Tx) error {
		c, err := tx.BoardCode(f.id)
		if err == nil {
			code, err = codeOf("read", c)
		}
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	return code
}

// TestTheCodeOfABoard: what it says is kept without what cannot be used or shown,
// and told once.
func TestTheCodeOfABoard(t *testing.T) {
	l := newLab(t)
	l.beats()
	f := l.online("gate")
	events := func() int64 {
		return call[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: l.admin, Limit: 1}).EventID
	}
	if _, err := try[s4t.BoardProfile](l, wire.MethodBoardProfile, wire.RefRequest{Caller: l.reader, Ref: "gate"}); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("the profile of a board that never said: %v", err)
	}
	report := wire.CodeReport{Board: f.id, Epoch: f.epoch, Runtimes: map[string]string{"exec": "linux\x00", "cobol": "1"}, Commands: []s4t.Command{
		{Name: "open", Source: s4t.CommandOfOwner, Board: "x", Params: json.RawMessage(`{ "type": "object" }`), Description: "opens\x1b"},
		{Name: "beep", Source: s4t.CommandOfPlugin, Plugin: "noise", Timeout: "5s"},
		{Name: "beep", Source: s4t.CommandOfPlugin, Plugin: "second"},
		{Name: "../x", Source: s4t.CommandOfOwner},
		{Name: "god", Source: "cloud"},
		{Name: "list", Source: s4t.CommandOfOwner, Params: json.RawMessage(`[]`)},
		{Name: "odd", Source: s4t.CommandOfOwner, Params: json.RawMessage(`{"type":"strnig"}`)},
		{Name: "far", Source: s4t.CommandOfOwner, Result: json.RawMessage(`{"$ref":"https://example.org/x"}`)},
		{Name: "late", Source: s4t.CommandOfOwner, Timeout: "25h"},
		{Name: "long", Source: s4t.CommandOfOwner, Result: json.RawMessage(`{"x":"` + strings.Repeat("x", s4t.MaxCommandSchema) + `"}`)},
	}, Profile: s4t.BoardProfile{Profile: s4t.Profile{CPU: "25%"}, Open: true, Enforced: map[string]string{"cpu": "cgroup v2"}, ReportedAt: new(time.Time)}}
	call[wire.Empty](l, wire.MethodBoardCode, report)
	if e := l.await("commands.changed", "gate"); e.Detail != "2 commands" {
		t.Errorf("the event says %+v", e)
	}
	code := l.keptCode(f)
	if got := fmt.Sprint(len(code.Commands), code.Runtimes); got != "2 map[exec:linux]" {
		t.Errorf("kept are %s", got)
	}
	if c, ok := code.command("beep"); !ok || c.Plugin != "noise" || c.Timeout != "5s" {
		t.Errorf("one of a plugin: %+v", c)
	}
	if c, ok := code.command("open"); !ok || c.Board != "" || c.Timeout != "30s" || string(c.Params) != `{"type":"object"}` || c.Description != "opens" {
		t.Errorf("one of the owner: %+v", c)
	}
	if _, ok := code.command("god"); ok {
		t.Error("one of nobody is kept")
	}
	p := call[s4t.BoardProfile](l, wire.MethodBoardProfile, wire.RefRequest{Caller: l.reader, Ref: "gate"})
	if p.CPU != "25%" || !p.Open || p.ReportedAt == nil || p.ReportedAt.IsZero() || p.Usage == nil {
		t.Errorf("the profile is %+v", p)
	}
	before := events()
	call[wire.Empty](l, wire.MethodBoardCode, report)
	report.Profile.Usage = []s4t.Usage{{Project: l.member.Project, ProjectName: "evil", CPUSeconds: 3}, {Project: s4t.ProjectID(s4t.NewID()), ProjectName: "evil"}, {Project: "x"}}
	call[wire.Empty](l, wire.MethodBoardCode, report)
	if events() != before {
		t.Errorf("events up to %d, %d before", events(), before)
	}
	p = call[s4t.BoardProfile](l, wire.MethodBoardProfile, wire.RefRequest{Caller: l.reader, Ref: "gate"})
	if len(p.Usage) != 2 || p.Usage[0].CPUSeconds != 3 || p.Usage[0].ProjectName == "evil" || p.Usage[0].ProjectName == "" || p.Usage[1].ProjectName != "" {
		t.Errorf("the use is %+v", p.Usage)
	}
	report.Epoch--
	if _, err := try[wire.Empty](l, wire.MethodBoardCode, report); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("by a session that is over: %v", err)
	}
	report.Epoch++
	report.Commands = nil
	for i := range 40 {
		report.Commands = append(report.Commands, s4t.Command{Name: fmt.Sprint("c", i), Source: s4t.CommandOfOwner, Params: json.RawMessage(`{"x":"` + strings.Repeat("x", s4t.MaxCommandSchema-10) + `"}`)})
	}
	if _, err := try[wire.Empty](l, wire.MethodBoardCode, report); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("more than is kept of one board: %v", err)
	}
}

// TestTheHoursOfABoard: that it closes is told before, that it has, and that it is
// open again.
func TestTheHoursOfABoard(t *testing.T) {
	l := newLab(t)
	l.beats()
	f := l.online("gate")
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	say := func(p s4t.BoardProfile) {
		call[wire.Empty](l, wire.MethodBoardCode, wire.CodeReport{Board: f.id, Epoch: f.epoch, Profile: p})
	}
	for _, step := range []struct {
		p      s4t.BoardProfile
		event  string
		detail string
	}{
		{s4t.BoardProfile{Open: true}, "", ""},
		{s4t.BoardProfile{Open: true, Closing: &at}, "board.closing", "its owner's hours end at 2026-03-01T08:00:00Z"},
		{s4t.BoardProfile{ChangesAt: &at}, "board.closed", "its owner's hours begin at 2026-03-01T08:00:00Z"},
		{s4t.BoardProfile{Open: true, ChangesAt: &at}, "board.open", ""},
	} {
		say(step.p)
		if step.event == "" {
			continue
		}
		if e := l.await(step.event, "gate"); e.Detail != step.detail {
			t.Errorf("the event says %+v", e)
		}
	}
}
