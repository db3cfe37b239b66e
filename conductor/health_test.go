package conductor

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestHowABoardIs: what it says is shown, kept within bounds, and only of its session.
func TestHowABoardIs(t *testing.T) {
	l := newLab(t)
	l.beats()
	f := l.online("gate")
	status := func() s4t.BoardHealth {
		return call[s4t.BoardHealth](l, wire.MethodHealthGet, wire.RefRequest{Caller: l.reader, Ref: "gate"})
	}
	if h := status(); h.Health != nil || h.History != nil || h.At != nil || h.Status != s4t.BoardOnline || h.Availability == nil || *h.Availability != 1 || h.Outages == nil {
		t.Errorf("of one that never said: %+v", h)
	}
	degrees := 41.5
	report := wire.HealthReport{Board: f.id, Epoch: f.epoch, Health: s4t.Health{Load1: 0.5, MemoryUsed: 9, MemoryTotal: 4, DiskTotal: -1, Temperature: &degrees, System: "a\x00" + strings.Repeat("b", 300)}}
	call[wire.Empty](l, wire.MethodBoardHealth, report)
	h := status()
	if h.Health == nil || h.Health.Load1 != 0.5 || h.Health.MemoryUsed != 4 || h.Health.DiskTotal != 0 || len(h.Health.System) > 255 || h.At == nil || h.At.IsZero() {
		t.Fatalf("it is %+v", h.Health)
	}
	newest := func(h s4t.BoardHealth) (v []float64) {
		for _, p := range h.History.Load1 {
			if p != nil {
				v = append(v, *p)
			}
		}
		return v
	}
	if v := newest(h); len(v) != 1 || v[0] != 0.5 {
		t.Errorf("the history is %v", v)
	}
	l.skew.Add(int64(2 * s4t.HealthStep))
	report.Health.Load1 = 3
	call[wire.Empty](l, wire.MethodBoardHealth, report)
	if h = status(); h.Health.Load1 != 3 || len(newest(h)) != 3 || *h.History.Load1[s4t.HealthPoints-2] != 0.5 {
		t.Errorf("after a time in which it said nothing: %v", newest(h))
	}
	report.Epoch--
	if _, err := try[wire.Empty](l, wire.MethodBoardHealth, report); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("by a session that is over: %v", err)
	}
	for _, method := range []string{wire.MethodHealthGet, wire.MethodOutageList} {
		if _, err := try[s4t.BoardHealth](l, method, map[string]any{"caller": l.foreign, "ref": "gate", "board": "gate"}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s by another project: %v", method, err)
		}
	}
	l.board("shed")
	m := call[wire.HealthMetrics](l, wire.MethodHealthAll, wire.HealthAsk{Caller: l.reader, Page: wire.Page{Limit: 1}})
	if len(m.Boards) != 1 || m.Boards[0].Name != "gate" || m.Boards[0].Health == nil || m.Boards[0].Health.Load1 != 3 || m.Next == "" {
		t.Errorf("the first page of figures is %+v", m)
	}
	if m = call[wire.HealthMetrics](l, wire.MethodHealthAll, wire.HealthAsk{Caller: l.reader, Page: wire.Page{After: m.Next}}); len(m.Boards) != 1 || m.Boards[0].Health != nil || m.Next != "" {
		t.Errorf("the second page of figures is %+v", m)
	}
	if m = call[wire.HealthMetrics](l, wire.MethodHealthAll, wire.HealthAsk{Caller: l.foreign}); len(m.Boards) != 0 {
		t.Errorf("another project sees %+v", m)
	}
	if _, err := try[wire.HealthMetrics](l, wire.MethodHealthAll, wire.HealthAsk{Caller: l.foreign, Project: string(l.member.Project)}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("another project's figures: %v", err)
	}
}

// TestReportsThatComeTogether: those of many boards are one transaction, and none
// suffers for another.
func TestReportsThatComeTogether(t *testing.T) {
	l := newLab(t)
	l.beats()
	a, b := l.online("gate"), l.online("shed")
	out := l.c.takeHealths(t.Context(), []wire.HealthReport{
		{Board: a.id, Epoch: a.epoch, Health: s4t.Health{Load1: 1}},
		{Board: b.id, Epoch: b.epoch + 1},
		{Board: "none", Epoch: 1},
		{Board: a.id, Epoch: a.epoch, Health: s4t.Health{Load1: 2}},
	})
	for i, want := range []s4t.Kind{"", s4t.Conflict, s4t.NotFound, ""} {
		if s4t.KindOf(out[i].err) != want {
			t.Errorf("report %d: %v", i, out[i].err)
		}
	}
	if h := call[s4t.BoardHealth](l, wire.MethodHealthGet, wire.RefRequest{Caller: l.reader, Ref: "gate"}); h.Health == nil || h.Health.Load1 != 2 {
		t.Errorf("it is %+v", h.Health)
	}
}

func TestWhyABoardWasAway(t *testing.T) {
	for _, c := range []struct {
		was       s4t.OutageReason
		lasted    time.Duration
		restarted bool
		uptime    time.Duration
		want      s4t.OutageReason
	}{
		{s4t.OutageUnknown, time.Minute, false, time.Hour, s4t.OutageLink},
		{s4t.OutageUnknown, time.Minute, false, 0, s4t.OutageLink},
		{s4t.OutageUnknown, time.Minute, true, time.Hour, s4t.OutageAgent},
		{s4t.OutageUnknown, time.Minute, true, 0, s4t.OutageAgent},
		{s4t.OutageUnknown, time.Minute, true, 30 * time.Second, s4t.OutagePower},
		{s4t.OutageUnknown, 10 * time.Second, true, 12 * time.Second, s4t.OutagePower}, // it was missed late
		{s4t.OutageCloud, time.Minute, true, 30 * time.Second, s4t.OutageCloud},
	} {
		if got := whyAway(s4t.Outage{Reason: c.was}, c.lasted, c.restarted, c.uptime); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestAvailability(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	day := func(n float64) time.Time { return now.Add(-time.Duration(n * 24 * float64(time.Hour))) }
	out := func(began, ended float64) s4t.Outage {
		o := s4t.Outage{Began: day(began)}
		if e := day(ended); ended > 0 {
			o.Ended = &e
		}
		return o
	}
	many := make([]s4t.Outage, s4t.MaxOutages)
	for i := range many {
		many[i] = out(10, 9.9999)
	}
	for _, c := range []struct {
		since   time.Time
		outages []s4t.Outage
		want    float64
	}{
		{day(90), nil, 1},
		{now, nil, 1},
		{day(90), []s4t.Outage{out(3, 0)}, 0.9},
		{day(10), []s4t.Outage{out(3, 2), out(5, 4)}, 0.8},
		{day(90), []s4t.Outage{out(33, 27)}, 0.9},
		{day(10), []s4t.Outage{out(20, 0)}, 0},
		{day(90), []s4t.Outage{out(60, 50)}, 1},
	} {
		if got := availableSince(c.since, c.outages, now); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("since %v with %v: %v, want %v", c.since, c.outages, got, c.want)
		}
	}
	if got := availableSince(day(90), many, now); got > 0.999 || got < 0.99 {
		t.Errorf("as far back as outages are kept: %v", got)
	}
}

// TestAnOutage: it begins when a session ends, is a guess while it lasts, and its
// reason is known when the board is back.
func TestAnOutage(t *testing.T) {
	l := newLab(t)
	l.beats()
	f := l.online("gate")
	status := func() s4t.BoardHealth {
		return call[s4t.BoardHealth](l, wire.MethodHealthGet, wire.RefRequest{Caller: l.reader, Ref: "gate"})
	}
	l.skew.Add(int64(time.Hour))
	l.disconnect(f)
	if h := status(); h.Status != s4t.BoardOffline || len(h.Outages) != 1 || h.Outages[0].Reason != s4t.OutageUnknown || h.Outages[0].Ended != nil {
		t.Fatalf("while it is away: %+v", h.Outages)
	}
	l.skew.Add(int64(time.Hour))
	l.connect(f, "i1")
	h := status()
	if len(h.Outages) != 1 || h.Outages[0].Reason != s4t.OutageLink || h.Outages[0].Ended == nil || h.Outages[0].Ended.Sub(h.Outages[0].Began) < time.Hour {
		t.Fatalf("when it is back: %+v", h.Outages)
	}
	if h.Availability == nil || *h.Availability > 0.55 || *h.Availability < 0.45 {
		t.Errorf("it was there for half of the time: %v", *h.Availability)
	}
	l.skew.Add(int64(time.Minute))
	l.disconnect(f)
	l.skew.Add(int64(time.Minute))
	l.connect(f, "i2")
	list := call[wire.List[s4t.Outage]](l, wire.MethodOutageList, wire.OutageList{Caller: l.reader, Board: "gate", Page: wire.Page{Limit: 1}})
	if len(list.Items) != 1 || list.Items[0].Reason != s4t.OutageAgent || list.Next == "" {
		t.Errorf("after a restart of its lightning-rod: %+v", list.Items)
	}
	call[wire.Empty](l, wire.MethodBoardLeave, wire.BoardAsk{Board: f.id, Epoch: f.epoch})
	if h := status(); len(h.Outages) != 2 || h.Availability != nil {
		t.Errorf("after it left: %+v", h)
	}
}
