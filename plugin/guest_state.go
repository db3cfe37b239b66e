package plugin

import (
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// show publishes how it is.
func (g *guest) show() {
	w, r := g.seen, g.proc
	s := State{PluginState: s4t.PluginState{Restarts: g.restarts, Exit: g.exit}, Settled: true}
	started := g.kept.Current != nil
	switch {
	case r != nil && r.healthy:
		s.State, s.Up = s4t.PluginRunning, true
	case r != nil && r.manifest.Kind == s4t.PluginJob && g.kept.Before == nil:
		s.State, s.Up = s4t.PluginRunning, true
	case r != nil:
		s.State, s.Settled = s4t.PluginStarting, false
	case g.failed != "":
		s.State, s.Problem = s4t.PluginFailed, g.failed
	case !started && g.refused == nil:
		s.State, s.Settled = s4t.PluginFetching, g.loadErr != nil
	case g.refused != nil && (!started || g.current()):
		s.State = s4t.PluginFailed
	case !w.Running:
		s.State, s.Up = s4t.PluginStopped, true
	case g.kept.Done:
		s.State, s.Up = s4t.PluginDone, true
	case g.m.isPaused():
		s.State, s.Problem = s4t.PluginStopped, "the hours of the board's owner are over: it is started when they begin"
	case g.asleep:
		s.State, s.Up, s.Problem = s4t.PluginStopped, true, "it is not started at boot: start it"
	case g.unborn != "":
		s.State, s.Problem = s4t.PluginWaiting, "it cannot be started: "+g.unborn
	default:
		s.State, s.Problem = s4t.PluginWaiting, "it ended: "+g.exit
	}
	if r != nil {
		s.PID, s.Health, s.Unlimited = r.proc.PID(), r.health, r.unlimited
	}
	if s.Problem != "" && !s.Up && !g.m.isPaused() {
		s.ProblemID = wire.PluginFailed
	}
	g.showVersion(&s)
	g.mu.Lock()
	was := g.shown
	since := was.Since
	if was.State != s.State || since == nil {
		now := time.Now().UTC().Truncate(time.Millisecond)
		since = &now
	}
	s.Since = since
	same := equalStates(was, s) && w.same(g.shownOf)
	g.shown, g.shownOf = s, w
	g.mu.Unlock()
	if !same {
		g.m.mu.Lock()
		g.m.tell()
		g.m.mu.Unlock()
	}
}

// showVersion adds what is to say where the version that is wanted is not the one that
// is installed.
func (g *guest) showVersion(s *State) {
	if g.kept.Current != nil && g.proc != nil && !g.current() {
		s.Running = g.kept.Current.Version
	}
	switch bad := g.kept.Bad; {
	case g.refused != nil && g.kept.Current != nil && !g.current(): // an upgrade to what is not taken
		s.Up, s.ProblemID = false, wire.PluginFellBack
		s.Problem = "version " + g.seen.Version + " is not taken: " + g.refused.Error()
	case g.refused != nil:
		s.Up, s.ProblemID, s.Problem = false, wire.PluginRefused, g.refused.Error()
	case bad != nil:
		s.Up, s.ProblemID, s.Problem = false, wire.PluginFellBack, bad.Why
		starts := g.proc == nil && g.should() && g.startAt.IsZero() || g.proc != nil && !g.proc.healthy
		if g.back = g.back && starts; g.back { // it is told when what it says is so
			s.Settled, s.ProblemID, s.Problem = false, "", ""
		}
	case !g.current() && g.loadErr != nil:
		s.Up, s.ProblemID, s.Problem = false, wire.PluginFailed, g.loadErr.Error()
	case !g.current(): // what is wrong with the version before says nothing of the one that is on its way
		s.Up, s.Settled, s.ProblemID, s.Problem = false, false, "", ""
	}
}

func equalStates(a, b State) bool {
	same := a.Up == b.Up && a.Settled == b.Settled && a.ProblemID == b.ProblemID
	x, y := a.PluginState, b.PluginState
	return same && x.State == y.State && x.Running == y.Running && x.PID == y.PID && x.Restarts == y.Restarts &&
		x.Exit == y.Exit && x.Health == y.Health && x.Problem == y.Problem && slices.Equal(x.Unlimited, y.Unlimited)
}
