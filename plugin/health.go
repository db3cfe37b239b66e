package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stack4things/s4t/plugin/bundle"
)

const (
	dialGrace = 30 * time.Second       // a callable must listen by then
	checkSoon = time.Second            // between checks of a plugin that is not well yet
	lookSoon  = 200 * time.Millisecond // between looks at the disk of a plugin, at the least,
	lookCost  = 20                     // and so many times as long as the last took
	diskRate  = 20 << 20               // bytes a second that a plugin is thought to write
	inode     = 256                    // bytes that a file takes besides its blocks
)

// watch says when a process is well, and when it is not, until it has ended.
func (g *guest) watch(r *running, spec Spec) {
	h := r.manifest.Health
	if len(h.Command) > 0 {
		g.checkHealth(r, spec)
		return
	}
	grace := time.NewTimer(h.Grace)
	defer grace.Stop()
	select {
	case <-r.over:
		return
	case <-grace.C:
	}
	limit := time.NewTimer(max(0, dialGrace-h.Grace))
	defer limit.Stop()
	select {
	case <-r.over:
	case <-r.spoken:
		r.tell(verdict{well: true})
	case <-limit.C:
		r.kill(fmt.Sprintf("it does not listen at $S4T_SOCKET after %s", dialGrace))
	}
}

// checkHealth runs the health command of a plugin again and again, in a sandbox as
// the plugin's.
func (g *guest) checkHealth(r *running, spec Spec) {
	h := r.manifest.Health
	argv, err := g.m.argv(r.manifest, h.Command, spec.Dir, filepath.Join(g.dir, dataFolder), filepath.Join(g.dir, boardFolder))
	if err != nil {
		r.kill(err.Error())
		return
	}
	spec.Name, spec.Argv, spec.Stdin, spec.Stdout, spec.Stderr = g.id+"-health", argv, nil, nil, nil
	well, failures := false, 0
	for {
		err := g.checkOnce(r, spec, h.Timeout)
		switch failures++; {
		case err == nil:
			well, failures = true, 0
			r.tell(verdict{well: true, text: "well"})
		case !well && time.Since(r.started) >= h.Grace:
			r.kill(fmt.Sprintf("it is not well %s after its start: its health command: %s", h.Grace, err))
		case well && failures >= h.Retries:
			r.kill(fmt.Sprintf("it is not well: its health command failed %d times: %s", failures, err))
		default:
			r.tell(verdict{text: "not well: " + err.Error()})
		}
		wait := h.Interval
		if !well {
			wait = min(wait, checkSoon)
		}
		if !r.pause(wait) {
			return
		}
	}
}

// checkOnce runs the health command once; the error says how it failed.
func (g *guest) checkOnce(r *running, spec Spec, limit time.Duration) error {
	p, err := g.m.start(spec)
	if err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.Done():
	case <-timer.C:
		p.Terminate(0)
		return fmt.Errorf("it took longer than %s", limit)
	case <-r.over:
		p.Terminate(0)
		return errors.New("the plugin ended")
	}
	if exit := p.Exit(); exit.Code != 0 {
		return errors.New(exit.String())
	}
	return nil
}

// measure looks at what a plugin keeps, until it has ended or has filled its disk. One that has at its
// start has a while to tidy up, in which it may keep little more than it did.
func (g *guest) measure(r *running) {
	var most int64      // that it may keep meanwhile
	var until time.Time // zero: it has no such while
	for first := true; ; first = false {
		begun := time.Now()
		limit := g.diskLimit(r.manifest)
		tidies := begun.Before(until)
		n := used(limit, first || tidies, filepath.Join(g.dir, dataFolder), g.runDir())
		before := g.disk.Swap(n)
		if first && limit > 0 && n > limit {
			most, until, tidies = n+limit/8, begun.Add(lookEvery), true
		}
		if limit > 0 && n > limit && !(tidies && n <= most) {
			r.tell(verdict{full: fmt.Sprintf("it has filled its disk: %d bytes of %d; when it is started it has %s to tidy up", n, limit, lookEvery)})
			return
		}
		all, given := g.m.disk()
		if n > before && given > 0 && all > given && !tidies {
			r.tell(verdict{full: fmt.Sprintf("plugins have filled what the board's owner gives: %d bytes of %d; start it, and it runs until they are looked at again", all, given)})
			return
		}
		if tidies {
			limit = most
		}
		wait := min(nextLook(limit, n), nextLook(given, all))
		if !r.pause(max(wait, lookCost*time.Since(begun))) {
			return
		}
	}
}

// nextLook is when to look again where so many bytes of a limit are kept: as soon as they could be
// over it. What is over it already has a while to tidy up.
func nextLook(limit, n int64) time.Duration {
	if limit == 0 || n > limit {
		return lookEvery
	}
	seconds := float64(limit-n) / diskRate
	return min(lookEvery, max(lookSoon, time.Duration(seconds*float64(time.Second))))
}

// disk is how many bytes all plugins keep together, with their bundles, and how many the board's owner
// gives; 0: any.
func (m *Manager) disk() (all, given int64) {
	if given = m.cfg.Limits().Disk; given == 0 {
		return 0, 0
	}
	return used(given, false, m.cfg.Dir), given
}

// diskLimit is how many bytes a plugin may keep; 0: any.
func (g *guest) diskLimit(m bundle.Manifest) int64 {
	limit := m.Resources.Disk
	if owner := g.m.cfg.Limits().Disk; owner > 0 && (limit == 0 || owner < limit) {
		limit = owner
	}
	return limit
}

// owner is the user that a file belongs to.
func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// pause waits while the guest runs, and reports whether it does.
func (r *running) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.over:
		return false
	case <-timer.C:
		return true
	}
}
