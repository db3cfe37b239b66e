package lightningrod

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
	"github.com/stack4things/s4t/plugin"
)

const (
	windowLook   = time.Minute      // the hours are looked at so often at least: a clock may jump
	usageSample  = 10 * time.Second // what guests use is looked at so often
	usageWritten = time.Minute      // the sums of it are written so often
)

// clockSane is a day before which no clock is right.
var clockSane = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// profileText is profile.toml.
type profileText struct {
	CPU       string `toml:"cpu"`
	Memory    string `toml:"memory"`
	Disk      string `toml:"disk"`
	Bandwidth string `toml:"bandwidth"`
	Hours     string `toml:"hours"`
	Zone      string `toml:"zone"`
	Notice    string `toml:"notice"`
}

// profile reads what the owner gives; all of the board where there is no file.
func (d stateDir) profile() (p s4t.Profile, err error) {
	text, err := d.read(profileFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, d.failed("read", profileFile, err)
	}
	var t profileText
	if err := tomlfile.Decode("read "+d.path(profileFile), profileHint, text, &t); err != nil {
		return p, err
	}
	p = s4t.Profile(t)
	return p, p.Check()
}

const profileHint = "correct it, or remove it and set the profile anew: `lightning-rod profile set`"

// saveProfile writes it, for the owner only.
func (d stateDir) saveProfile(p s4t.Profile) error {
	var text strings.Builder
	text.WriteString("# What the owner of this board gives to others: `lightning-rod profile set -h`.\n")
	for _, f := range []struct{ key, value string }{
		{"cpu", p.CPU}, {"memory", p.Memory}, {"disk", p.Disk}, {"bandwidth", p.Bandwidth}, {"hours", p.Hours}, {"zone", p.Zone}, {"notice", p.Notice},
	} {
		if f.value != "" { // Check leaves nothing in them that TOML would have escaped
			text.WriteString(f.key + ` = "` + f.value + "\"\n")
		}
	}
	return d.write(profileFile, []byte(text.String()))
}

// profile is what the owner gives of the board, and whether others may use it now.
type profile struct {
	dir     stateDir
	clock   *cloudClock
	traffic traffic
	log     *slog.Logger
	turn    func(w window)       // set before Run: makes the board open, closing or closed; called by run only
	changed func()               // set before Run: what the cloud is told may be another; must not block
	guests  func() profileGuests // of now; nil: no code of others runs here
	kick    chan struct{}        // run looks now
	meter   meter

	reading sync.Mutex // held while the file is read and applied; taken first

	mu      sync.Mutex // guards the fields below
	given   s4t.Profile
	hours   s4t.Hours
	notice  time.Duration
	limits  plugin.Limits
	problem string // why code of others is refused: the file cannot be read; empty: it can
	window  window
}

// profileGuests is what the profile needs of the code of others.
type profileGuests interface {
	SetLimits(plugin.Limits) error
	Pause(on bool)
	Enforces() map[string]string
	States() map[string]plugin.State   // by ID
	ProjectOf(id string) s4t.ProjectID // of a plugin; empty: the board's own
}

// newProfile reads what the owner gives. Nothing is enforced before Run.
func newProfile(dir stateDir, clock *cloudClock, log *slog.Logger) *profile {
	p := &profile{
		dir: dir, clock: clock, log: log, kick: make(chan struct{}, 1), turn: func(window) {}, changed: func() {}, guests: func() profileGuests { return nil },
		traffic: traffic{received: newPacer(), sent: newPacer(), usage: newUsage(dir, clock.now, log)},
	}
	p.read()
	p.window.state = windowClosed // what is closed when lightning-rod starts was told before
	p.look()
	return p
}

// read reads the file, and applies what changed: limits and bandwidth at once, the
// hours by run.
func (p *profile) read() {
	p.reading.Lock()
	defer p.reading.Unlock()
	given, err := p.dir.profile()
	p.mu.Lock()
	was := p.problem
	p.problem = ""
	if err != nil { // what is known goes on, and no code of others
		p.problem = "the owner's profile cannot be read, so that no code of others runs: " + err.Error()
		if p.problem != was {
			p.log.Error("the owner's profile cannot be read; no code of others runs", "err", err)
		}
		p.mu.Unlock()
		p.enforce()
		return
	}
	p.set(given)
	p.mu.Unlock()
	p.enforce()
}

// set takes a profile that was checked. p.mu is held.
func (p *profile) set(given s4t.Profile) {
	p.given = given
	p.limits.CPU, _ = s4t.ParseCPU(given.CPU)
	p.limits.Memory, _ = s4t.ParseSize(given.Memory)
	p.limits.Disk, _ = s4t.ParseSize(given.Disk)
	p.notice, _ = given.NoticeTime()
	if zone, err := given.Location(); err == nil {
		p.hours, _ = s4t.ParseHours(given.Hours, zone)
	}
	bits, _ := s4t.ParseBandwidth(given.Bandwidth)
	p.traffic.received.set(bits / 8)
	p.traffic.sent.set(bits / 8)
}

// enforce has guests and the window follow. p.reading is held.
func (p *profile) enforce() {
	if g := p.guests(); g != nil {
		if err := g.SetLimits(p.limitsNow()); err != nil {
			p.log.Error("the owner's limits are not enforced", "err", err)
		}
	}
	notify(p.kick)
	p.changed()
}

// limitsNow are those of all guests together.
func (p *profile) limitsNow() plugin.Limits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}

// admit is the error of something new that others begin; nil: it may. code is set
// for plugins and commands.
func (p *profile) admit(op string, code bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if code && p.problem != "" {
		return s4t.Errorf(s4t.Forbidden, op, "ask the owner of the board", "%s", p.problem)
	}
	return p.window.refused(op)
}

// windowNow is the window of now.
func (p *profile) windowNow() window {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.window
}

// look judges the hours, and returns the window where it is another, and when to look
// again.
func (p *profile) look() (w window, turned bool, again time.Duration) {
	now := p.clock.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	w, at := p.judge(now)
	turned = w.state != p.window.state || !w.changes.Equal(p.window.changes)
	p.window = w
	again = windowLook
	if !at.IsZero() {
		again = max(min(again, at.Sub(now)), 0)
	}
	return w, turned, again
}

// judge is the window at a time, and when to look again. p.mu is held.
func (p *profile) judge(now time.Time) (w window, at time.Time) {
	if p.given.Hours != "" && !p.clock.known() && now.Before(clockSane) {
		return window{state: windowClosed}, at
	}
	return p.window.step(p.hours, p.notice, now)
}

// run enforces the hours and counts what is used, until ctx ends.
func (p *profile) run(ctx context.Context) {
	sample, keep := time.NewTicker(usageSample), time.NewTicker(usageWritten)
	defer sample.Stop()
	defer keep.Stop()
	defer p.traffic.usage.keep()
	next := time.NewTimer(0)
	defer next.Stop()
	paused := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-sample.C:
			p.meter.sample(p.guests(), p.traffic.usage)
			continue
		case <-keep.C:
			p.traffic.usage.keep()
			continue
		case <-p.kick:
		case <-next.C:
		}
		w, turned, again := p.look()
		if pause := p.admit("run code", true) != nil; pause != paused {
			paused = pause
			if g := p.guests(); g != nil {
				g.Pause(pause)
			}
		}
		if turned {
			p.log.Info("the hours of the board's owner", "open", w.state == windowOpen, "closing", w.state == windowClosing, "changes", w.changes)
			p.turn(w)
			p.changed()
		}
		next.Reset(again)
	}
}

// now is what the cloud and the owner are told.
func (p *profile) now() s4t.BoardProfile {
	now := p.clock.now()
	p.mu.Lock()
	w, _ := p.judge(now) // run may not have looked since the owner changed the hours
	b := s4t.BoardProfile{Profile: p.given, Open: w.state != windowClosed, Enforced: map[string]string{}}
	if w.state == windowClosing {
		closes := w.closes.UTC()
		b.Closing = &closes
	}
	if at := w.changes; !at.IsZero() {
		at = at.UTC()
		b.ChangesAt = &at
	}
	p.mu.Unlock()
	if g := p.guests(); g != nil {
		b.Enforced = g.Enforces()
	} else {
		for _, what := range []string{"cpu", "memory", "disk"} {
			b.Enforced[what] = "no: no code of others runs here"
		}
	}
	b.Enforced["bandwidth"] = "pacing"
	b.Usage = p.traffic.usage.list()
	return b
}

// problemNow says what is wrong with the profile, empty for nothing.
func (p *profile) problemNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problem
}

// ReadProfile asks the lightning-rod that runs on a state directory, which reads the
// owner's file anew and follows it; where none runs, the files tell, and Enforced is
// empty.
func ReadProfile(ctx context.Context, state string) (s4t.BoardProfile, error) {
	dir := stateDir(state)
	given, err := dir.profile()
	if err != nil {
		return s4t.BoardProfile{}, err
	}
	var b s4t.BoardProfile
	if err := dir.ask(ctx, askProfile, &b); err == nil {
		return b, nil
	}
	b = s4t.BoardProfile{Profile: given, Enforced: map[string]string{}}
	if b.Usage, _, err = dir.usage(); b.Usage == nil {
		b.Usage = []s4t.Usage{}
	}
	return b, err
}

// SetProfile changes what the owner gives, and has the lightning-rod that runs follow.
func SetProfile(ctx context.Context, state string, change func(*s4t.Profile)) (s4t.BoardProfile, error) {
	dir := stateDir(state)
	given, err := dir.profile()
	if err != nil {
		return s4t.BoardProfile{}, err
	}
	was := given
	change(&given)
	if err := given.Check(); err != nil {
		return s4t.BoardProfile{}, err
	}
	if !reflect.DeepEqual(given, was) {
		if err := dir.create(); err != nil {
			return s4t.BoardProfile{}, err
		}
		if err := dir.saveProfile(given); err != nil {
			return s4t.BoardProfile{}, err
		}
	}
	return ReadProfile(ctx, state)
}
