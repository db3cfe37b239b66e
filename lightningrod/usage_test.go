package lightningrod

import (
	"bytes"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// TestUsageGoesOn over a restart, and what was counted before the board knew its
// project is its project's.
func TestUsageGoesOn(t *testing.T) {
	dir := stateDir(t.TempDir())
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	own, other := s4t.ProjectID(s4t.NewID()), s4t.ProjectID(s4t.NewID())
	log := slog.New(slog.DiscardHandler)
	u := newUsage(dir, now, log)
	u.keep()
	if _, err := os.Stat(dir.path(usageFile)); err == nil {
		t.Error("nothing was used, and a file is written")
	}
	u.own().sent.Add(7)
	at = at.Add(time.Hour)
	u.belong(own)
	u.own().sent.Add(3)
	u.own().received.Add(5)
	u.of(other).cpu.Add(int64(1500 * time.Millisecond))
	u.of(other).memory.Add(7200)
	u.of(other).commands.Add(2)
	u.of("").samples.Add(9)
	u.keep()
	list := func(u *usage) map[s4t.ProjectID]s4t.Usage {
		m := map[s4t.ProjectID]s4t.Usage{}
		for _, l := range u.list() {
			m[l.Project] = l
		}
		return m
	}
	want := map[s4t.ProjectID]s4t.Usage{
		own:   {Project: own, Since: at.Add(-time.Hour), BytesSent: 10, BytesReceived: 5, Samples: 9},
		other: {Project: other, Since: at, CPUSeconds: 1.5, MemoryHours: 2, Commands: 2},
	}
	for _, u := range []*usage{u, newUsage(dir, now, log)} {
		got := list(u)
		if len(got) != 2 || got[own] != want[own] || got[other] != want[other] {
			t.Errorf("the sums are %+v, want %+v", got, want)
		}
	}
	u = newUsage(dir, now, log)
	u.belong(own)
	u.own().sent.Add(1)
	if got := list(u)[own]; got.BytesSent != 11 || !got.Since.Equal(want[own].Since) {
		t.Errorf("after a restart: %+v", got)
	}
	u.keep()
	u = newUsage(dir, now, log) // not killed in between
	if got := list(u)[own]; got.BytesSent != 11 {
		t.Errorf("after another: %+v", got)
	}
	for range 2 * maxUses {
		u.of(s4t.ProjectID(s4t.NewID())).samples.Add(1)
	}
	if n := len(u.list()); n > maxUses+1 {
		t.Errorf("%d projects are told apart", n)
	}
}

func FuzzUsage(f *testing.F) {
	for _, text := range []string{"", "{}", `[{"project":"x","cpu_seconds":-1,"since":"x"}]`, `[{"project":"a","cpu_seconds":1e308,"memory_byte_hours":1e308,"bytes_sent":-5},{}]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(usageFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		u := newUsage(dir, time.Now, slog.New(slog.DiscardHandler))
		u.own().sent.Add(1)
		u.keep()
		if _, again, err := dir.usage(); err != nil || bytes.Equal(again, text) {
			t.Fatalf("%q, %v", again, err)
		}
	})
}
