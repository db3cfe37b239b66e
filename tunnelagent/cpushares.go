package tunnelagent

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stack4things/s4t"
)

// cpuShares share the agent's CPU between projects. Whoever handles a batch of
// frames holds a slot; there are as many as CPUs. While slots are free nobody
// waits. When all are held, the next goes to the waiting project that has moved
// the fewest bytes for its weight (start-time fair queueing): a project with a
// hundred busy ports gets as much as a project of the same weight with one. A
// project that was away is not repaid for it.
type cpuShares struct {
	mu       sync.Mutex // guards the fields below
	free     int
	now      float64 // the virtual time: that of the slot given last
	projects map[s4t.ProjectID]*sharer
	weights  map[s4t.ProjectID]int // 1 of a project that is not there

	waiting atomic.Int32 // how many wait for a slot; changed with mu held
}

// sharer is a project that holds or awaits slots.
type sharer struct {
	moved   float64         // its virtual time: bytes, each divided by the weight at its time
	held    int             // slots
	waiting []chan struct{} // first come first
}

// newCPUShares has as many slots as this process has CPUs.
func newCPUShares() *cpuShares { return newShares(runtime.GOMAXPROCS(0)) }

func newShares(slots int) *cpuShares {
	return &cpuShares{free: slots, projects: map[s4t.ProjectID]*sharer{}, weights: map[s4t.ProjectID]int{}}
}

// weigh says what a project weighs from now on.
func (c *cpuShares) weigh(project s4t.ProjectID, weight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if weight <= 1 {
		delete(c.weights, project)
		return
	}
	c.weights[project] = weight
}

// take waits for a slot. The caller gives it back with done, after a short
// time in which it does not wait for anything.
func (c *cpuShares) take(project s4t.ProjectID) {
	c.mu.Lock()
	s := c.projects[project]
	if s == nil {
		s = &sharer{}
		c.projects[project] = s
	}
	if s.held == 0 && len(s.waiting) == 0 { // it was away
		s.moved = max(s.moved, c.now)
	}
	if c.free > 0 {
		c.free--
		c.give(s)
		c.mu.Unlock()
		return
	}
	w := make(chan struct{})
	s.waiting = append(s.waiting, w)
	c.waiting.Add(1)
	c.mu.Unlock()
	<-w
}

// give notes that s got a slot. mu is held.
func (c *cpuShares) give(s *sharer) {
	s.held++
	c.now = max(c.now, s.moved)
}

// over reports whether a slot in which the project moved n bytes should be
// given back now: another waits that has moved less for its weight. Without it,
// a project with one port would get every second slot at most, whatever its
// weight: it cannot wait for its next before it has given back the one it has.
func (c *cpuShares) over(project s4t.ProjectID, n int) bool {
	if c.waiting.Load() == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.projects[project]
	moved := s.moved + c.cost(project, n)
	for _, o := range c.projects {
		if o != s && len(o.waiting) > 0 && o.moved < moved {
			return true
		}
	}
	return false
}

// cost is what n bytes add to a project's virtual time. mu is held.
func (c *cpuShares) cost(project s4t.ProjectID, n int) float64 {
	return float64(n) / float64(max(1, c.weights[project]))
}

// done gives a slot back in which the project moved n bytes.
func (c *cpuShares) done(project s4t.ProjectID, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.projects[project]
	s.held--
	s.moved += c.cost(project, n)
	var next *sharer
	for id, o := range c.projects {
		switch {
		case len(o.waiting) > 0 && (next == nil || o.moved < next.moved):
			next = o
		case o.held == 0 && len(o.waiting) == 0 && o.moved <= c.now:
			delete(c.projects, id)
		}
	}
	if next == nil {
		c.free++
		return
	}
	w := next.waiting[0]
	next.waiting = next.waiting[1:]
	c.waiting.Add(-1)
	c.give(next)
	close(w)
}
