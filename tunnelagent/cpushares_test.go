package tunnelagent

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestProjectsShareHoweverManyPortsTheyHave(t *testing.T) {
	for _, c := range []struct {
		name    string
		slots   int
		ports   map[s4t.ProjectID]int
		weights map[s4t.ProjectID]int
	}{
		{"one port beside twenty", 1, map[s4t.ProjectID]int{"a": 1, "b": 20}, nil},
		{"three projects on two CPUs", 2, map[s4t.ProjectID]int{"a": 2, "b": 5, "c": 30}, nil},
		{"three times the weight", 1, map[s4t.ProjectID]int{"a": 20, "b": 1}, map[s4t.ProjectID]int{"b": 3}},
		{"weights on two CPUs", 2, map[s4t.ProjectID]int{"a": 9, "b": 4, "c": 2}, map[s4t.ProjectID]int{"a": 2, "b": 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts := newShares(c.slots)
				for project, weight := range c.weights {
					ts.weigh(project, weight)
				}
				moved := map[s4t.ProjectID]int{}
				var mu sync.Mutex
				var running sync.WaitGroup
				end := time.Now().Add(time.Second)
				for project, n := range c.ports {
					for range n {
						running.Go(func() {
							for time.Now().Before(end) {
								ts.take(project)
								n := 0
								for n < 100_000 && !ts.over(project, n) {
									time.Sleep(10 * time.Microsecond) // the work
									n += 10_000
								}
								mu.Lock()
								moved[project] += n
								mu.Unlock()
								ts.done(project, n)
							}
						})
					}
				}
				running.Wait()
				total, weight := 0, 0
				for project, n := range moved {
					total += n
					weight += max(1, c.weights[project])
				}
				for project, n := range moved {
					fair := float64(total) * float64(max(1, c.weights[project])) / float64(weight)
					if share := float64(n) / fair; share < 0.95 || share > 1.05 {
						t.Errorf("project %s got %.2f of its share: %v", project, share, moved)
					}
				}
				if ts.free != c.slots {
					t.Errorf("%d slots are free at the end", ts.free)
				}
			})
		})
	}
}

func TestDesiredStateSaysWhatProjectsWeigh(t *testing.T) {
	r := newRig(t)
	network := func(id string, weight int) wire.Resource {
		return wire.NewResource(wire.KindNetwork, id, wire.TunnelNetwork{Layer: 2, Encapsulation: s4t.EncapEthernet, MTU: 1500, Project: "a", Weight: weight})
	}
	for _, c := range []struct {
		resources []wire.Resource
		want      map[s4t.ProjectID]int
	}{
		{[]wire.Resource{network("n", 3)}, map[s4t.ProjectID]int{"a": 3}},
		{[]wire.Resource{network("n", 5), network("m", 5)}, map[s4t.ProjectID]int{"a": 5}},
		{[]wire.Resource{network("m", 5)}, map[s4t.ProjectID]int{"a": 5}},
		{nil, nil},
	} {
		r.want(c.resources...)
		r.agent.cpu.mu.Lock()
		if got := r.agent.cpu.weights; !maps.Equal(got, c.want) {
			t.Errorf("weights %v, want %v", got, c.want)
		}
		r.agent.cpu.mu.Unlock()
	}
}

func TestNobodyWaitsWhileSlotsAreFree(t *testing.T) {
	ts := newShares(2)
	for range 1000 { // far ahead of the others, which are not there
		ts.take("a")
		ts.done("a", 1<<20)
	}
	ts.take("b")
	ts.take("a")
	ts.done("a", 0)
	ts.done("b", 0)
	if n := testing.AllocsPerRun(100, func() { ts.take("a"); ts.done("a", 1<<20) }); n > 0 {
		t.Errorf("%v allocations a slot", n)
	}
	if len(ts.projects) > 2 {
		t.Errorf("%d projects are kept", len(ts.projects))
	}
}
