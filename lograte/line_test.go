package lograte

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFloodIsOneLineAMinuteWithACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var l Line
		for range 3000 {
			l.Info(log, "refused", "peer", "192.0.2.1")
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || strings.Contains(out.String(), "more") {
			t.Errorf("%d lines: %.200s", n, out.String())
		}
		time.Sleep(every)
		l.Warn(log, "refused", "peer", "192.0.2.1")
		if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "more_since_the_last=2999") {
			t.Errorf("%.300s", got)
		}
	})
}

func TestAtLevelDebugEachIsThere(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var l Line
	for range 5 {
		l.Info(log, "refused")
	}
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d lines", n)
	}
}
