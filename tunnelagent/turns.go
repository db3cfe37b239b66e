package tunnelagent

import (
	"runtime"
	"sync"

	"github.com/stack4things/s4t"
)

// turns share the agent's CPU between projects. Whoever handles a batch of
// frames holds a turn; there are as many as CPUs. While turns are free nobody
// waits. When all are held, the next goes to the waiting project that has moved
// the fewest bytes (start-time fair queueing, with equal weights): a project
// with a hundred busy ports gets as much as a project with one. A project that
// was away is not repaid for it.
type turns struct {
	mu       sync.Mutex // guards the fields below
	free     int
	now      int64 // the virtual time: that of the turn given last
	projects map[s4t.ProjectID]*sharer
}

// sharer is a project that holds or awaits turns.
type sharer struct {
	moved   int64           // its virtual time, in bytes
	held    int             // turns
	waiting []chan struct{} // first come first
}

func newTurns(n int) *turns {
	return &turns{free: n, projects: map[s4t.ProjectID]*sharer{}}
}

// cpuTurns are as many as this process has CPUs.
func cpuTurns() *turns { return newTurns(runtime.GOMAXPROCS(0)) }

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
	t.mu.Unlock()
	<-w
}

// give notes that s got a turn. mu is held.
func (t *turns) give(s *sharer) {
	s.held++
	t.now = max(t.now, s.moved)
}

// done gives a turn back in which the project moved n bytes.
func (t *turns) done(project s4t.ProjectID, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.projects[project]
	s.held--
	s.moved += int64(n)
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
	t.give(next)
	close(w)
}
