package tunnelagent

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stack4things/s4t"
)

// turns share the agent's CPU between projects. Whoever handles a batch of
// frames holds a turn; there are as many as CPUs. While turns are free nobody
// waits. When all are held, the next goes to the waiting project that has moved
// the fewest bytes for its weight (start-time fair queueing): a project with a
// hundred busy ports gets as much as a project of the same weight with one. A
// project that was away is not repaid for it.
type turns struct {
	mu       sync.Mutex // guards the fields below
	free     int
	now      float64 // the virtual time: that of the turn given last
	projects map[s4t.ProjectID]*sharer
	weights  map[s4t.ProjectID]int // 1 of a project that is not there

	waiting atomic.Int32 // how many wait for a turn; changed with mu held
}

// sharer is a project that holds or awaits turns.
type sharer struct {
	moved   float64         // its virtual time: bytes, each divided by the weight at its time
	held    int             // turns
	waiting []chan struct{} // first come first
}

func newTurns(n int) *turns {
	return &turns{free: n, projects: map[s4t.ProjectID]*sharer{}}
}

// cpuTurns are as many as this process has CPUs.
func cpuTurns() *turns { return newTurns(runtime.GOMAXPROCS(0)) }

// weigh says what the projects weigh from now on.
func (t *turns) weigh(weights map[s4t.ProjectID]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.weights = weights
}

// take waits for a turn. The caller gives it back with done, after a short
// time in which it does not wait for anything.
func (t *turns) take(project s4t.ProjectID) {
	t.mu.Lock()
	s := t.projects[project]
	if s == nil {
		s = &sharer{}
		t.projects[project] = s
	}
	if s.held == 0 && len(s.waiting) == 0 { // it was away
		s.moved = max(s.moved, t.now)
	}
	if t.free > 0 {
		t.free--
		t.give(s)
		t.mu.Unlock()
		return
	}
	w := make(chan struct{})
	s.waiting = append(s.waiting, w)
	t.waiting.Add(1)
	t.mu.Unlock()
	<-w
}

// give notes that s got a turn. mu is held.
func (t *turns) give(s *sharer) {
	s.held++
	t.now = max(t.now, s.moved)
}

// over reports whether a turn in which the project moved n bytes should end
// now: another waits that has moved less for its weight. Without it, a project
// with one port would get every second turn at most, whatever its weight: it
// cannot wait for its next turn before it has done the one it has.
func (t *turns) over(project s4t.ProjectID, n int) bool {
	if t.waiting.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.projects[project]
	moved := s.moved + t.cost(project, n)
	for _, o := range t.projects {
		if o != s && len(o.waiting) > 0 && o.moved < moved {
			return true
		}
	}
	return false
}

// cost is what n bytes add to a project's virtual time. mu is held.
func (t *turns) cost(project s4t.ProjectID, n int) float64 {
	return float64(n) / float64(max(1, t.weights[project]))
}

// done gives a turn back in which the project moved n bytes.
func (t *turns) done(project s4t.ProjectID, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.projects[project]
	s.held--
	s.moved += t.cost(project, n)
	var next *sharer
	for id, o := range t.projects {
		switch {
		case len(o.waiting) > 0 && (next == nil || o.moved < next.moved):
			next = o
		case o.held == 0 && len(o.waiting) == 0 && o.moved <= t.now:
			delete(t.projects, id)
		}
	}
	if next == nil {
		t.free++
		return
	}
	w := next.waiting[0]
	next.waiting = next.waiting[1:]
	t.waiting.Add(-1)
	t.give(next)
	close(w)
}
