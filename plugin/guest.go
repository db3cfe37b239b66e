package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

const (
	firstWait = time.Second      // before a plugin that ended is started again; it doubles
	lastWait  = time.Minute      // to this,
	wellAfter = time.Minute      // and begins anew after it has run so long
	lookEvery = 10 * time.Second // at the disk of a plugin that runs, at the most: see nextLook
)

// guest is a plugin on this board. Its goroutine, run, makes of it what is wanted:
//
//	fetching --> starting --> running --> done, of a job
//	                ^ |          |
//	                | v          v
//	               waiting <-----+--> failed
//
// A new version is fetched while the old one runs. When it is there the old one is
// stopped, and kept until the new one is well; where that does not get well, the old
// one is started again.
type guest struct {
	m       *Manager
	id      string
	dir     string
	log     *ring
	kick    chan struct{} // 1: what is wanted may be another
	fetched atomic.Int64  // bytes of the bundle that is on the way
	disk    atomic.Int64  // bytes of the data folder

	mu       sync.Mutex // guards the fields below
	want     Wanted
	gone     bool    // it is not wanted any more
	again    *Wanted // it is wanted anew, after it has gone
	shown    State   // without what is measured
	shownOf  Wanted  // what was wanted then
	proc     *running
	stopping bool          // proc is being ended
	has      []s4t.Command // of the bundle that is installed

	// Of the goroutine.
	seen     Wanted // of want, what it has begun to follow
	begun    bool   // seen is something
	kept     kept
	back     bool // it went back to the version before, which is not well yet
	asleep   bool // it ran before lightning-rod was started, and is not started at boot
	anew     bool // the process that runs is to be started anew
	refused  error
	failed   string // it is not tried again
	backoff  time.Duration
	startAt  time.Time // not before
	restarts int
	exit     string // how it ended last
	unborn   string // why it could not be started, where that was after it
	load     *loading
	loadErr  error // of the last that failed
	loadWait time.Duration
	loadAt   time.Time // not before
}

func newGuest(m *Manager, w Wanted) *guest {
	g := &guest{m: m, id: w.ID, dir: filepath.Join(m.cfg.Dir, w.ID), kick: make(chan struct{}, 1), want: w}
	g.shown = State{PluginState: s4t.PluginState{State: s4t.PluginPending}}
	if err := os.MkdirAll(g.dir, 0o711); err != nil {
		m.cfg.Log.Error("the folder of a plugin cannot be made", "plugin", w.Name, "err", err)
	}
	os.Chmod(g.dir, 0o711) // whatever the umask
	g.log = openRing(filepath.Join(g.dir, "log"))
	return g
}

func (g *guest) set(w Wanted) {
	g.mu.Lock()
	if g.gone {
		g.again = &w
	}
	g.want = w
	g.mu.Unlock()
	g.wake()
}

func (g *guest) leave() {
	g.mu.Lock()
	g.gone, g.again = true, nil
	g.mu.Unlock()
	g.wake()
}

func (g *guest) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

func (g *guest) name() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.want.Name
}

func (g *guest) wanted() (w Wanted, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.want, g.gone
}

// well returns the process where it is healthy.
func (g *guest) well() *running {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.proc != nil && !g.stopping && g.shown.State == s4t.PluginRunning {
		return g.proc
	}
	return nil
}

func (g *guest) hasCommand(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.gone && slices.ContainsFunc(g.has, func(c s4t.Command) bool { return c.Name == name })
}

// state returns how it is, with what it has used.
func (g *guest) state() State {
	g.mu.Lock()
	s, r := g.shown, g.proc
	if !g.want.same(g.shownOf) { // what is so, or wrong, of what was wanted before says nothing
		s.Up, s.Settled, s.ProblemID, s.Problem = false, false, "", ""
	}
	g.mu.Unlock()
	s.Fetched = g.fetched.Load()
	s.Disk = g.disk.Load()
	if r != nil {
		used := r.proc.Used()
		s.CPU, s.Memory = used.CPU.Seconds(), used.Memory
	}
	return s
}

// run makes of the plugin what is wanted, until ctx ends or it is not wanted.
func (g *guest) run(ctx context.Context) {
	defer g.m.drop(g)
	g.restore()
	for {
		w, gone := g.wanted()
		if gone || ctx.Err() != nil {
			g.cancelLoad()
			if !gone {
				g.stop("lightning-rod ends")
			} else {
				g.stop("it is taken away")
				g.log.close()
				if err := errors.Join(os.RemoveAll(g.dir), os.RemoveAll(g.runDir())); err != nil {
					g.m.cfg.Log.Error("the folder of a plugin cannot be removed", "plugin", w.Name, "err", err)
				}
			}
			return
		}
		g.follow(w)
		g.settle(ctx)
		g.show()
		timer := time.NewTimer(time.Until(g.next()))
		select {
		case <-ctx.Done():
		case <-g.kick:
		case <-timer.C:
		case l := <-g.loaded():
			g.load = nil
			g.install(l)
		case <-g.proc.done():
			g.ended()
		case verdict := <-g.proc.verdicts():
			g.judge(verdict)
		}
		timer.Stop()
	}
}

// follow takes what is wanted where it is not what it was.
func (g *guest) follow(w Wanted) {
	was, first := g.seen, !g.begun
	g.seen, g.begun = w, true
	if first {
		g.asleep = g.kept.Begun && w.Start <= g.kept.Started && !w.OnBoot
	}
	newStart := w.Start > g.kept.Started || !g.kept.Begun
	if !first && was.Start != w.Start || first && newStart {
		g.kept.Done = g.kept.Done && !newStart
		g.asleep = g.asleep && !newStart
		g.anew = g.proc != nil
		g.restarts = 0
	}
	if !first && !maps.Equal(was.Params, w.Params) {
		g.anew = g.proc != nil
	}
	if first || !w.same(was) {
		g.loadErr, g.loadWait, g.loadAt = nil, 0, time.Time{}
		if g.load != nil && g.load.want.Digest != w.Digest {
			g.cancelLoad()
		}
	}
	if first || !w.same(was) {
		g.failed, g.backoff, g.startAt = "", 0, time.Time{}
		g.refused = g.check(w)
	}
	if b := g.kept.Bad; b != nil && (b.Digest != w.Digest || b.Start != w.Start) {
		g.kept.Bad = nil
		g.save()
	}
}

// check says why a bundle will never be taken, as far as that shows before it is here.
func (g *guest) check(w Wanted) error {
	sum, err := hex.DecodeString(w.Digest)
	switch {
	case err != nil || len(sum) != sha256.Size || w.Size <= 0 || w.Size > s4t.MaxBundle || !bundle.ValidVersion(w.Version):
		return fmt.Errorf("it is no bundle that a board takes: digest %q, %d bytes", s4t.Line(w.Digest, 2*sha256.Size), w.Size)
	case !bundle.Verify(w.Key, w.Digest, w.Signature):
		return fmt.Errorf("its signature is wrong")
	case len(g.m.cfg.Keys) > 0 && !slices.ContainsFunc(g.m.cfg.Keys, func(k []byte) bool { return string(k) == string(w.Key) }):
		return fmt.Errorf("this board does not take bundles of the key that signed it")
	}
	return nil
}

// current reports whether the bundle that is installed is the one that is wanted.
func (g *guest) current() bool {
	return g.kept.Current != nil && g.kept.Current.Digest == g.seen.Digest
}

// settle starts and stops what is not as it should be.
func (g *guest) settle(ctx context.Context) {
	if g.lacks() && !time.Now().Before(g.loadAt) {
		g.loading(ctx, g.seen)
	}
	should := g.should()
	switch {
	case g.proc != nil && !should:
		g.stop(g.why())
	case g.proc != nil && g.anew:
		g.stop("it is started anew")
		g.startAt = time.Time{}
	}
	g.anew = false
	if should && g.proc == nil && !time.Now().Before(g.startAt) {
		g.startNow()
	}
}

// why says why it is stopped.
func (g *guest) why() string {
	switch {
	case g.m.isPaused():
		return "the hours of the board's owner are over"
	case g.refused != nil:
		return g.refused.Error()
	case g.failed != "":
		return g.failed
	}
	return "somebody stopped it"
}

// lacks reports whether a bundle is to be fetched, and is not on its way.
func (g *guest) lacks() bool {
	return !g.current() && g.refused == nil && g.kept.Bad == nil && g.load == nil
}

// should reports whether what is installed should run, now or after a while.
func (g *guest) should() bool {
	return g.kept.Current != nil && g.seen.Running && !g.asleep && !g.kept.Done && g.failed == "" &&
		!(g.refused != nil && g.current()) && !g.m.isPaused()
}

// next is when settle has something to do that nobody tells.
func (g *guest) next() time.Time {
	at := time.Now().Add(time.Hour)
	if g.proc == nil && g.should() && g.startAt.Before(at) {
		at = g.startAt
	}
	if g.lacks() && g.loadAt.Before(at) {
		at = g.loadAt
	}
	return at
}

// ended is called when the process has ended by itself.
func (g *guest) ended() {
	r := g.proc
	exit := r.proc.Exit()
	g.exit = exit.String()
	g.release()
	g.log.agent("ended: %s", g.exit)
	ran := time.Since(r.started)
	switch {
	case r.manifest.Kind == s4t.PluginJob && exit.Code == 0:
		g.kept.Done = true
		g.accept()
		g.save()
	case g.kept.Before != nil && !r.healthy:
		g.fallBack(g.exit)
	case r.manifest.Kind == s4t.PluginJob:
		g.failed = g.exit
	default:
		g.later(ran)
	}
}

// later makes it start again after a while.
func (g *guest) later(ran time.Duration) {
	if ran >= wellAfter {
		g.backoff = 0
	}
	g.backoff = min(max(firstWait, 2*g.backoff), lastWait)
	g.startAt = time.Now().Add(g.backoff)
	g.restarts++
}

// judge takes what was found of the process that runs.
func (g *guest) judge(v verdict) {
	r := g.proc
	switch {
	case v.full != "":
		g.failed = v.full
		g.log.agent("%s", v.full)
		g.stop(v.full)
	case v.well:
		if !r.healthy {
			r.healthy = true
			g.accept()
		}
		r.health = v.text
	case v.dead:
		g.log.agent("%s", v.text)
		ran := time.Since(r.started)
		healthy := r.healthy
		g.stop(v.text)
		g.exit = v.text
		if g.kept.Before != nil && !healthy {
			g.fallBack(v.text)
			return
		}
		g.later(ran)
	default:
		r.health = v.text
	}
}

// accept makes the version that runs the one to keep: it is well.
func (g *guest) accept() {
	if b := g.kept.Before; b != nil {
		g.kept.Before = nil
		g.save()
		os.RemoveAll(filepath.Join(g.dir, b.Folder))
	}
}

// fallBack goes back to the version before.
func (g *guest) fallBack(why string) {
	c, b := g.kept.Current, g.kept.Before
	g.kept.Bad = &bad{Digest: c.Digest, Start: g.seen.Start,
		Why: fmt.Sprintf("version %s did not become healthy: %s; version %s runs again", c.Version, s4t.Line(why, 500), b.Version)}
	g.log.agent("%s", g.kept.Bad.Why)
	g.kept.Current, g.kept.Before = b, nil
	g.save()
	os.RemoveAll(filepath.Join(g.dir, c.Folder))
	g.backoff, g.startAt, g.failed, g.back = 0, time.Time{}, "", true
	g.setCommands()
}
