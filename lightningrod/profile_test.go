package lightningrod

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
)

// fakeGuests note what the profile wants of guests.
type fakeGuests struct {
	mu     sync.Mutex
	limits plugin.Limits
	said   []string
	states map[string]plugin.State
}

func (g *fakeGuests) SetLimits(l plugin.Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l
	return nil
}

func (g *fakeGuests) Pause(on bool) { g.say(map[bool]string{true: "pause", false: "go on"}[on]) }

func (g *fakeGuests) say(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = append(g.said, what)
}

func (g *fakeGuests) heard() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.said, ", ")
}

func (g *fakeGuests) Enforces() map[string]string { return map[string]string{"cpu": "cgroup v2"} }
func (g *fakeGuests) States() map[string]plugin.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.states
}
func (g *fakeGuests) ProjectOf(string) s4t.ProjectID { return "p" }

// TestTheOwnersHours: notice is given, then the board is closed, and it opens again by
// itself.
func TestTheOwnersHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stateDir(t.TempDir())
		clock := &cloudClock{}
		clock.set(time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC))
		if err := dir.saveProfile(s4t.Profile{Hours: "18:00-08:00", Zone: "UTC"}); err != nil {
			t.Fatal(err)
		}
		g := &fakeGuests{}
		p := newProfile(dir, clock, slog.New(slog.DiscardHandler))
		p.guests = func() profileGuests { return g }
		p.turn = func(w window) { g.say([]string{"open", "closing", "closed"}[w.state]) }
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		running.Go(func() { p.run(ctx) })
		defer running.Wait()
		defer cancel()
		pass := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := g.heard(); got != want {
				t.Errorf("at %v the board did %q, want %q", clock.now().Format(time.TimeOnly), got, want)
			}
		}
		pass(58*time.Minute, "")
		if b := p.now(); !b.Open || b.Closing != nil || !b.ChangesAt.Equal(time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC)) || b.Enforced["cpu"] != "cgroup v2" || b.Enforced["bandwidth"] != "pacing" {
			t.Errorf("it tells %+v", b)
		}
		if err := p.admit("x", true); err != nil {
			t.Error(err)
		}
		pass(time.Minute, "pause, closing")
		if b := p.now(); !b.Open || b.Closing == nil {
			t.Errorf("while it closes it tells %+v", b)
		}
		if err := p.admit("x", false); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("something new: %v", err)
		}
		pass(time.Minute, "pause, closing, closed")
		if b := p.now(); b.Open || b.Closing != nil || b.ChangesAt.Hour() != 18 {
			t.Errorf("closed it tells %+v", b)
		}
		pass(10*time.Hour, "pause, closing, closed, go on, open")

		// The owner takes the board back: with notice, at once.
		if err := dir.saveProfile(s4t.Profile{Hours: "19:00-20:00", Zone: "UTC", Notice: "10s"}); err != nil {
			t.Fatal(err)
		}
		p.read()
		pass(time.Second, "pause, closing, closed, go on, open, pause, closing")
		pass(10*time.Second, "pause, closing, closed, go on, open, pause, closing, closed")

		// The clock jumps; that is noticed within a minute.
		clock.set(time.Date(2026, 3, 4, 19, 30, 0, 0, time.UTC))
		pass(windowLook, "pause, closing, closed, go on, open, pause, closing, closed, go on, open")
	})
}

// TestADamagedProfile lets no code of others run, until it can be read.
func TestADamagedProfile(t *testing.T) {
	dir := stateDir(t.TempDir())
	g := &fakeGuests{}
	p := newProfile(dir, &cloudClock{}, slog.New(slog.DiscardHandler))
	p.guests = func() profileGuests { return g }
	if err := dir.saveProfile(s4t.Profile{CPU: "25%", Memory: "64M", Bandwidth: "8M"}); err != nil {
		t.Fatal(err)
	}
	p.read()
	want := plugin.Limits{CPU: 0.25, Memory: 64 << 20}
	if g.limits != want || p.traffic.sent.Rate() != 1_000_000 || p.problemNow() != "" {
		t.Errorf("limits are %+v, %d bytes/s, problem %q", g.limits, p.traffic.sent.Rate(), p.problemNow())
	}
	for _, text := range []string{"cpu = ", `cpus = "25%"`, `cpu = "25%%"`, `hours = "never"`} {
		if err := os.WriteFile(dir.path(profileFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.read()
		if err := p.admit("run a command", true); s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), "profile") {
			t.Errorf("%s: code runs: %v", text, err)
		}
		if err := p.admit("open a stream", false); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if g.limits != want {
			t.Errorf("%s: the limits became %+v", text, g.limits)
		}
	}
	if err := os.Remove(dir.path(profileFile)); err != nil {
		t.Fatal(err)
	}
	p.read()
	if err := p.admit("run a command", true); err != nil || g.limits != (plugin.Limits{}) || p.traffic.received.Rate() != 0 {
		t.Errorf("without a file: %v, %+v", err, g.limits)
	}
}

// TestABoardThatDoesNotKnowTheTime is closed where its owner gives hours.
func TestABoardThatDoesNotKnowTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock begins in 2000
		dir := stateDir(t.TempDir())
		clock := &cloudClock{}
		if err := dir.saveProfile(s4t.Profile{Hours: "Mon-Sun"}); err != nil {
			t.Fatal(err)
		}
		p := newProfile(dir, clock, slog.New(slog.DiscardHandler))
		if err := p.admit("x", false); s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), "time") {
			t.Errorf("it lets in: %v", err)
		}
		clock.set(time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC))
		p.look()
		if err := p.admit("x", false); err != nil {
			t.Error(err)
		}
	})
}

// TestSetProfile: with and without a lightning-rod that runs.
func TestSetProfile(t *testing.T) {
	dir := t.TempDir()
	b, err := SetProfile(t.Context(), dir, func(p *s4t.Profile) { p.CPU, p.Hours = "25%", "Mon-Fri 18:00-08:00" })
	if err != nil || b.CPU != "25%" || len(b.Enforced) != 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	if info, err := os.Stat(stateDir(dir).path(profileFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if _, err := SetProfile(t.Context(), dir, func(p *s4t.Profile) { p.CPU = "x" }); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("what is no limit: %v", err)
	}
	b, err = SetProfile(t.Context(), dir, func(p *s4t.Profile) { p.CPU, p.Memory = "", "64M" })
	if want := (s4t.Profile{Memory: "64M", Hours: "Mon-Fri 18:00-08:00"}); err != nil || b.Profile != want {
		t.Errorf("changed twice: %+v, %v", b, err)
	}
	if os.Geteuid() == 0 { // of a lightning-rod that runs as another user
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := SetProfile(t.Context(), dir, func(p *s4t.Profile) { p.Memory = "65M" }); err != nil {
			t.Fatal(err)
		}
		var file unix.Stat_t
		if err := unix.Stat(stateDir(dir).path(profileFile), &file); err != nil || file.Uid != 65534 {
			t.Errorf("the file is of %d, %v", file.Uid, err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() != profileFile }) {
		t.Errorf("there are %v, %v", names, err)
	}
}

// TestWhatGuestsUse is counted while they run and when they end, each second once.
func TestWhatGuestsUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProfile(stateDir(t.TempDir()), &cloudClock{}, slog.New(slog.DiscardHandler))
		g := &fakeGuests{}
		sample := func(cpu float64, memory int64) {
			g.states = map[string]plugin.State{"a": {PluginState: s4t.PluginState{CPU: cpu, Memory: memory}}}
			p.meter.sample(g, p.traffic.usage)
		}
		sample(1, 100)
		time.Sleep(10 * time.Second)
		sample(4, 100)
		p.ended(plugin.Wanted{ID: "a", Project: "p"}, plugin.Used{CPU: 5 * time.Second})
		sample(0, 0) // nothing runs
		p.ended(plugin.Wanted{ID: "a", Project: "p"}, plugin.Used{CPU: 2 * time.Second})
		list := p.traffic.usage.list()
		if len(list) != 1 || list[0].CPUSeconds != 7 || list[0].MemoryHours != 1000.0/3600 {
			t.Errorf("used were %+v", list)
		}
	})
}
