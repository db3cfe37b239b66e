package tunnelagent

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

func TestProjectsShareHoweverManyPortsTheyHave(t *testing.T) {
	for _, c := range []struct {
		name  string
		turns int
		ports map[s4t.ProjectID]int
	}{
		{"one port beside twenty", 1, map[s4t.ProjectID]int{"a": 1, "b": 20}},
		{"three projects on two CPUs", 2, map[s4t.ProjectID]int{"a": 2, "b": 5, "c": 30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts := newTurns(c.turns)
				moved := map[s4t.ProjectID]int{}
				var mu sync.Mutex
				var running sync.WaitGroup
				end := time.Now().Add(time.Second)
				for project, n := range c.ports {
					for range n {
						running.Go(func() {
							for time.Now().Before(end) {
								ts.take(project)
								time.Sleep(100 * time.Microsecond) // the work
								mu.Lock()
								moved[project] += 100_000
								mu.Unlock()
								ts.done(project, 100_000)
							}
						})
					}
				}
				running.Wait()
				total := 0
				for _, n := range moved {
					total += n
				}
				for project, n := range moved {
					if share := float64(n) / float64(total) * float64(len(c.ports)); share < 0.9 || share > 1.1 {
						t.Errorf("project %s got %.2f of its share: %v", project, share, moved)
					}
				}
				if ts.free != c.turns {
					t.Errorf("%d turns are free at the end", ts.free)
				}
			})
		})
	}
}

func TestNobodyWaitsWhileTurnsAreFree(t *testing.T) {
	ts := newTurns(2)
	for range 1000 { // far ahead of the others, which are not there
		ts.take("a")
		ts.done("a", 1<<20)
	}
	ts.take("b")
	ts.take("a")
	ts.done("a", 0)
	ts.done("b", 0)
	if n := testing.AllocsPerRun(100, func() { ts.take("a"); ts.done("a", 1<<20) }); n > 0 {
		t.Errorf("%v allocations a turn", n)
	}
	if len(ts.projects) > 2 {
		t.Errorf("%d projects are kept", len(ts.projects))
	}
}
