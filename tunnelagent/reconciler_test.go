package tunnelagent

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stack4things/s4t/wire"
)

// kindLamp is a kind that the middle does not know.
const kindLamp wire.Kind = "lamp"

// lampSpec of a lamp.
type lampSpec struct {
	Colour string `json:"colour"`
	Broken bool   `json:"broken,omitempty"`
}

// lamps are a whole kind: nothing else was written for it.
type lamps struct {
	agent *Agent

	mu      sync.Mutex // guards the fields below
	on      map[string]string
	mend    bool // the broken ones can be switched on
	applied int
}

func (l *lamps) apply(rd *round, changed []wire.Resource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied += len(changed)
	each(rd, changed, func(id string) { delete(l.on, id) }, func(id string, want lampSpec) error {
		delete(l.on, id)
		if want.Broken && !l.mend {
			return errors.New("the bulb is broken")
		}
		l.on[id] = want.Colour
		return nil
	})
}

func (l *lamps) state(id string) (up bool, problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, up = l.on[id]
	return up, nil
}

// blow makes a lamp go out, or on again, by itself.
func (l *lamps) blow(id string, on bool) {
	l.mu.Lock()
	delete(l.on, id)
	if on {
		l.on[id] = "red"
	}
	l.mu.Unlock()
	l.agent.changed(wire.ResourceKey{Kind: kindLamp, ID: id})
}

func (l *lamps) colour(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on[id]
}

// newLampRig is a rig whose agent has lamps.
func newLampRig(t *testing.T) (*rig, *lamps) {
	l := &lamps{on: map[string]string{}}
	r := newRig(t, func(a *Agent) {
		l.agent = a
		a.register(kindLamp, l)
	})
	return r, l
}

func lamp(id string, spec lampSpec) wire.Resource { return wire.NewResource(kindLamp, id, spec) }

func manyLamps(n int) (all []wire.Resource) {
	for i := range n {
		all = append(all, lamp(fmt.Sprintf("lamp-%05d", i), lampSpec{Colour: "red"}))
	}
	return all
}

func TestAKindIsOneReconciler(t *testing.T) {
	r, l := newLampRig(t)
	r.want(lamp("a", lampSpec{Colour: "red"}), lamp("b", lampSpec{Colour: "blue", Broken: true}))
	v := r.await("lamp a", up(kindLamp, "a"))
	if up(kindLamp, "b")(v) || v.problem(kindLamp, "b") != "the bulb is broken" {
		t.Errorf("the broken lamp: %+v", v.states)
	}
	r.want(lamp("a", lampSpec{Colour: "green"}), lamp("b", lampSpec{Colour: "blue", Broken: true}))
	if got := l.colour("a"); got != "green" {
		t.Errorf("the lamp is %q", got)
	}
	l.mu.Lock()
	l.mend = true
	l.mu.Unlock()
	v = r.await("lamp b, which is tried again", up(kindLamp, "b"))
	if v.problem(kindLamp, "b") != "" {
		t.Errorf("a problem remains: %+v", v.states)
	}
	r.want(lamp("b", lampSpec{Colour: "blue", Broken: true}))
	if v, _ := r.conductor.view(); len(v.states) != 1 || l.colour("a") != "" {
		t.Errorf("a lamp that is not wanted: %+v, %q", v.states, l.colour("a"))
	}
}

func TestOnlyDifferencesAreAskedForAppliedAndReported(t *testing.T) {
	r, l := newLampRig(t)
	all := manyLamps(2*wire.MaxPage + 100)
	r.conductor.page = 300
	r.want(all...)
	r.await("all lamps", func(v view) bool { return len(v.all(kindLamp)) == len(all) })

	r.conductor.mu.Lock()
	reports, asks := r.conductor.reports, len(r.conductor.asks)
	r.conductor.mu.Unlock()
	l.mu.Lock()
	l.applied = 0
	l.mu.Unlock()
	all[700] = lamp(all[700].ID, lampSpec{Colour: "green"})
	r.want(all[1:]...)
	l.mu.Lock()
	if l.applied != 2 {
		t.Errorf("%d resources were applied, want the two that changed", l.applied)
	}
	l.mu.Unlock()
	r.conductor.mu.Lock()
	defer r.conductor.mu.Unlock()
	for _, ask := range r.conductor.asks[asks:] {
		if ask.Since == 0 || ask.After != "" || ask.Incarnation != r.agent.incarnation {
			t.Errorf("asked %+v", ask)
		}
	}
	if n := r.conductor.reports - reports; n > 3 || len(r.conductor.told.states) != len(all)-1 {
		t.Errorf("%d reports, %d states", n, len(r.conductor.told.states))
	}
}

func TestWhereDifferencesDoNotAddUpAllIsAskedFor(t *testing.T) {
	r, l := newLampRig(t)
	all := manyLamps(20)
	r.want(all[:10]...)
	r.conductor.mu.Lock()
	r.conductor.spoilt = true
	r.conductor.page = 3
	r.conductor.mu.Unlock()
	r.want(all[5:]...)
	r.await("all lamps", func(v view) bool { return len(v.all(kindLamp)) == 15 })
	if l.colour(all[0].ID) != "" {
		t.Error("a lamp that is not in the whole state is still there")
	}
	r.conductor.mu.Lock()
	defer r.conductor.mu.Unlock()
	if !slices.ContainsFunc(r.conductor.asks[1:], func(q wire.TunnelAsk) bool { return q.Since == 0 && q.After != "" }) {
		t.Errorf("asked %+v", r.conductor.asks)
	}
}

func TestAConductorThatLostStatesIsToldAllOfThem(t *testing.T) {
	r, _ := newLampRig(t)
	all := manyLamps(2*wire.MaxPage + 100)
	r.want(all...)
	r.await("all lamps", func(v view) bool { return len(v.all(kindLamp)) == len(all) })
	r.conductor.mu.Lock()
	r.conductor.differs = true
	for i := range 700 {
		delete(r.conductor.told.states, all[i].Key())
	}
	ghost := wire.ResourceState{Kind: kindLamp, ID: "zzz", Up: true}
	r.conductor.told.states[ghost.Key()] = ghost
	r.conductor.mu.Unlock()
	r.agent.reports.remind()
	r.await("all lamps again", func(v view) bool { return len(v.all(kindLamp)) == len(all) && !up(kindLamp, "zzz")(v) })
	r.want(all[1:]...)
	r.conductor.mu.Lock()
	defer r.conductor.mu.Unlock()
	if r.conductor.whole != 1 {
		t.Errorf("it asked for all states %d times", r.conductor.whole)
	}
}

func TestAStateIsToldAgainUntilItIsAnswered(t *testing.T) {
	r, l := newLampRig(t)
	r.want(lamp("a", lampSpec{Colour: "red"}))
	r.await("the lamp", up(kindLamp, "a"))
	deaf := func(deaf bool) {
		r.conductor.mu.Lock()
		defer r.conductor.mu.Unlock()
		r.conductor.deaf = deaf
	}
	deaf(true)
	l.blow("a", false)
	r.await("no lamp", func(v view) bool { return !up(kindLamp, "a")(v) })
	l.blow("a", true) // which is what the conductor answered to last
	deaf(false)
	r.await("the lamp again", up(kindLamp, "a"))
}

func TestAnUnknownKindIsAProblem(t *testing.T) {
	r := newRig(t)
	r.want(lamp("a", lampSpec{}))
	if v, _ := r.conductor.view(); v.problem(kindLamp, "a") == "" {
		t.Errorf("it is told %+v", v)
	}
	r.want()
	if v, _ := r.conductor.view(); len(v.states) != 0 {
		t.Errorf("it is told %+v", v)
	}
}

func TestASpecThatIsNotUnderstoodIsAProblem(t *testing.T) {
	r := newRig(t)
	r.want(wire.NewResource(wire.KindPort, "a", "nonsense"))
	if v, _ := r.conductor.view(); v.problem(wire.KindPort, "a") == "" {
		t.Errorf("it is told %+v", v)
	}
}
