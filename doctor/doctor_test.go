package doctor

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChecksOfTheBoardItself(t *testing.T) {
	now := time.Date(2040, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		x     *examination
		run   func(*examination)
		level string
		says  string
	}{
		{"the clock says 1970", &examination{now: time.Unix(5, 0)}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelWarning, "1970-01-01"},
		{"the clock is an hour off", &examination{now: now, cloudNow: now.Add(time.Hour)}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelWarning, "1h0m0s off"},
		{"the clock is right", &examination{now: now, cloudNow: now}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelOK, "2040"},
		{"no right to make devices", &examination{Board: Board{Capabilities: &link.Capabilities{Reason: "no CAP_NET_ADMIN"}}}, func(x *examination) { checkNetworks(t.Context(), x) }, wire.LevelWarning, "no CAP_NET_ADMIN"},
		{"devices can be made", &examination{Board: Board{Capabilities: &link.Capabilities{Networks: true}}}, func(x *examination) { checkNetworks(t.Context(), x) }, wire.LevelOK, "devices"},
		{"the path drops big packets", &examination{segment: 1220}, func(x *examination) { checkMTU(t.Context(), x) }, wire.LevelWarning, "1220"},
		{"a port is down", &examination{Board: Board{Identity: &Identity{}, Running: &Running{Connected: true, Ports: []Port{{Interface: "s4t-1", Problem: "the agent is away"}}}}},
			func(x *examination) {
				x.survey = link.TakeSurvey
				checkPorts(t.Context(), x)
			}, wire.LevelError, "s4t-1: the agent is away"},
		{"connected", &examination{Board: Board{Identity: &Identity{}, Running: &Running{Connected: true}}}, func(x *examination) { checkAgent(t.Context(), x) }, wire.LevelOK, "connected"},
		{"not connected yet", &examination{Board: Board{Identity: &Identity{}, Running: &Running{}}}, func(x *examination) { checkAgent(t.Context(), x) }, wire.LevelWarning, "not connected yet"},
		{"the disk of the state", &examination{Board: Board{State: t.TempDir()}}, func(x *examination) { checkDisk(t.Context(), x) }, wire.LevelOK, "MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := tt.x
			tt.run(x)
			if len(x.findings) == 0 || x.findings[0].Level != tt.level || !strings.Contains(x.findings[0].Cause, tt.says) {
				t.Errorf("findings = %+v, want %s that says %q", x.findings, tt.level, tt.says)
			}
		})
	}
}
