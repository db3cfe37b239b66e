package lightningrod

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// TestHowTheBoardIs reads the files of a twin.
func TestHowTheBoardIs(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	h := newHealth(root, "/state", "1.2.3")
	h.now, h.started = func() time.Time { return now }, now.Add(-90*time.Second)
	h.statfs = func(path string) (used, total int64) { return int64(len(path)), 100 }
	if s := h.sample(); s.MemoryTotal != 0 || s.Temperature != nil || s.Uptime != 0 || s.AgentUptime != 90 || s.Version != "1.2.3" {
		t.Errorf("of a board that tells nothing: %+v", s)
	}
	put("proc/loadavg", "0.52 0.58 0.59 1/467 12345\n")
	put("proc/uptime", "350735.47 234388.90\n")
	put("proc/meminfo", "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\nBuffers:           50 kB\n")
	put("proc/sys/kernel/osrelease", "6.12.1\n")
	put("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n")
	put("sys/class/thermal/thermal_zone0/temp", "41000\n")
	put("sys/class/thermal/thermal_zone1/temp", "48312\n")
	put("sys/class/thermal/thermal_zone2/temp", "no number\n")
	dev := "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0\n"
	put("proc/net/dev", dev+"  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n")
	h.sample()
	now = now.Add(10 * time.Second)
	put("proc/net/dev", dev+"  eth0: 3000 1 0 0 0 0 0 0 600 1 0 0 0 0 0 0\n wlan0:7 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0\n")
	s := h.sample()
	if s.Load1 != 0.52 || s.Uptime != 350735 || s.MemoryTotal != 1000<<10 || s.MemoryUsed != 600<<10 || s.DiskUsed != 6 || s.DiskTotal != 100 ||
		s.Temperature == nil || *s.Temperature != 48.312 || s.Kernel != "6.12.1" || s.System != "Debian GNU/Linux 13 (trixie)" {
		t.Errorf("it is %+v", s)
	}
	if s.ReceivedBytes != 3007 || s.SentBytes != 600 || s.ReceivedRate != 200.7 || s.SentRate != 10 {
		t.Errorf("its network is %+v", s)
	}
	now = now.Add(10 * time.Second)
	put("proc/net/dev", dev)
	put("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 50 kB\n")
	if s := h.sample(); s.ReceivedRate != 0 || s.MemoryUsed != 800<<10 {
		t.Errorf("without its interfaces, and of an old kernel: %+v", s)
	}
}

// TestTheSystemTellsHowItIs reads this machine's own files.
// TestWhatIsWorthTelling: a board at rest says every four minutes how it is, not every
// minute.
func TestWhatIsWorthTelling(t *testing.T) {
	warm, warmer, hot := 40.0, 41.5, 42.0
	was := s4t.Health{Load1: 1, MemoryUsed: 500, MemoryTotal: 1000, DiskUsed: 10, DiskTotal: 1000, Temperature: &warm, ReceivedBytes: 1 << 20, ReceivedRate: 100e3, Uptime: 100, AgentUptime: 100, Version: "v1"}
	for _, tt := range []struct {
		name  string
		ago   time.Duration
		now   func(*s4t.Health)
		worth bool
	}{
		{"the same", time.Minute, func(*s4t.Health) {}, false},
		{"the next point of the history", s4t.HealthStep - s4t.HealthInterval - time.Second, func(*s4t.Health) {}, true},
		{"the clock went back", -time.Hour, func(*s4t.Health) {}, true},
		{"a little of everything", time.Minute, func(h *s4t.Health) {
			h.Load1, h.MemoryUsed, h.DiskUsed, h.Temperature, h.ReceivedRate, h.ReceivedBytes, h.SentRate = 1.1, 510, 15, &warmer, 120e3, 1<<21, 1000
		}, false},
		{"load", time.Minute, func(h *s4t.Health) { h.Load1 = 1.5 }, true},
		{"memory", time.Minute, func(h *s4t.Health) { h.MemoryUsed = 450 }, true},
		{"disk", time.Minute, func(h *s4t.Health) { h.DiskUsed = 40 }, true},
		{"temperature", time.Minute, func(h *s4t.Health) { h.Temperature = &hot }, true},
		{"no temperature", time.Minute, func(h *s4t.Health) { h.Temperature = nil }, true},
		{"traffic", time.Minute, func(h *s4t.Health) { h.SentRate = 4096 }, true},
		{"much traffic that was slow", time.Minute, func(h *s4t.Health) { h.ReceivedBytes += 20 << 20 }, true},
		{"less traffic", time.Minute, func(h *s4t.Health) { h.ReceivedRate = 10e3 }, true},
		{"a reboot", time.Minute, func(h *s4t.Health) { h.Uptime = 20 }, true},
		{"a release", time.Minute, func(h *s4t.Health) { h.Version = "v2" }, true},
	} {
		now := time.Now()
		h := &health{told: was, toldAt: now.Add(-tt.ago), now: func() time.Time { return now }}
		s := was
		tt.now(&s)
		if got := h.worth(s); got != tt.worth {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	for _, tt := range []struct {
		ago, hold time.Duration
		worth     bool
	}{{time.Hour, s4t.HealthHold, false}, {s4t.HealthHold, s4t.HealthHold, true}, {time.Minute, time.Second, false}} {
		now := time.Now()
		h := &health{told: was, toldAt: now.Add(-tt.ago), hold: tt.hold, now: func() time.Time { return now }}
		if got := h.worth(was); got != tt.worth {
			t.Errorf("%v after a cloud was told that holds it for %v: %t", tt.ago, tt.hold, got)
		}
		s := was
		if s.Load1 = 5; !h.worth(s) {
			t.Errorf("%v after it was told, load", tt.ago)
		}
	}
	if h := (&health{now: time.Now}); !h.worth(was) {
		t.Error("the first was not worth telling")
	}
}

func TestTheSystemTellsHowItIs(t *testing.T) {
	s := newHealth("/", t.TempDir(), "").sample()
	if s.MemoryTotal == 0 || s.MemoryUsed == 0 || s.DiskTotal == 0 || s.Uptime == 0 || s.Kernel == "" {
		t.Errorf("it is %+v", s)
	}
}
