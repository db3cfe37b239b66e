package lightningrod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// gpio is a kind that no cloud has: a pin of the board. It proves that the next
// kind needs a file of its own and a line in the registry, and nothing else.
const gpio wire.Kind = "gpio"

type desiredPin struct {
	Level int `json:"level"`
}

// pins realise it.
type pins struct {
	mu      sync.Mutex // guards the fields below
	order   []string
	level   map[string]int
	retries int
	ran     bool
}

func (p *pins) Apply(want []wire.Resource) (refused []wire.ResourceState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order, p.level = nil, map[string]int{}
	for _, r := range want {
		var d desiredPin
		if state, ok := decode(r, &d); !ok {
			refused = append(refused, state)
		} else {
			p.order, p.level[r.ID] = append(p.order, r.ID), d.Level
		}
	}
	return refused
}

func (p *pins) States() (states []wire.ResourceState, settled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range p.order {
		level := p.level[id]
		st := wire.ResourceState{Kind: gpio, ID: id, Up: level < 2}
		if !st.Up {
			st.ProblemID, st.Problem = "pin-level", "a pin has no\nlevel 2"
		}
		states = append(states, st)
	}
	return states, true
}

func (p *pins) Retry()             { p.mu.Lock(); p.retries++; p.mu.Unlock() }
func (p *pins) Problems() []string { return []string{"pins are slow"} }

func (p *pins) Run(ctx context.Context) error {
	<-ctx.Done()
	p.ran = true
	return nil
}

func pin(id string, level int) wire.Resource {
	return wire.NewResource(gpio, id, desiredPin{Level: level})
}

func TestTheNextKindNeedsNothingInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDesired(4)
		d.Resources = []wire.Resource{pin("p1", 1), pin("p2", 2)}
		c := newFakeCloud(d)
		e, _ := engineFor(t, noDialer{}, always(c))
		p := &pins{}
		e.kinds.add(gpio, p)
		if err := e.dir.saveDesired(kept{Desired: d}, kept{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		e.kinds.run(ctx, &running)

		e.restore()
		if p.level["p1"] != 1 || p.level["p2"] != 2 {
			t.Errorf("at boot the pins are %v", p.level)
		}
		stop := run(t, e)
		synctest.Wait()
		if p.retries != 1 {
			t.Errorf("it was told of %d sessions", p.retries)
		}
		want := []wire.ResourceState{
			{Kind: gpio, ID: "p1", Up: true},
			{Kind: gpio, ID: "p2", ProblemID: "pin-level", Problem: "a pin has no level 2"},
		}
		got := c.reported()
		if len(got) != 1 || !slices.Equal(got[0].Resources, want) || !slices.Contains(got[0].Problems, "pins are slow") {
			t.Fatalf("reports = %+v, want %+v", got, want)
		}
		d = testDesired(5)
		d.Resources = []wire.Resource{pin("p2", 0)}
		c.tell(d)
		synctest.Wait()
		if got = c.reported(); len(got) != 2 || !slices.Equal(got[1].Resources, []wire.ResourceState{{Kind: gpio, ID: "p2", Up: true}}) {
			t.Errorf("after one was removed: %+v", got)
		}
		if len(p.level) != 1 {
			t.Errorf("pins %v are left", p.level)
		}
		stop()
		cancel()
		running.Wait()
		if len(p.level) != 0 || !p.ran {
			t.Errorf("at the end the pins are %v, it ran: %v", p.level, p.ran)
		}
	})
}

func TestAKindThatTheBoardDoesNotKnowHarmsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDesired(4)
		d.Resources = []wire.Resource{
			pin("p1", 1),
			pin("p2", 1),
			{Kind: gpio, ID: "p3", Gone: true},
			wire.NewResource(wire.KindService, "s1", wire.DesiredService{Target: "127.0.0.1", TCPPort: 22}),
			{Kind: wire.KindService, ID: "s2", Spec: json.RawMessage(`{"port":"ssh"}`)},
		}
		c := newFakeCloud(d)
		e, ready := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		got := c.reported()
		if len(got) != 1 || got[0].Generation != 4 || len(ready()) != 1 {
			t.Fatalf("reports = %+v, ready %v", got, ready())
		}
		for _, want := range []struct {
			key  wire.ResourceKey
			up   bool
			says string
		}{
			{wire.ResourceKey{Kind: gpio, ID: "p1"}, false, "this lightning-rod does not know the kind gpio; update it"},
			{wire.ResourceKey{Kind: gpio, ID: "p2"}, false, "this lightning-rod does not know the kind gpio; update it"},
			{wire.ResourceKey{Kind: wire.KindService, ID: "s1"}, false, ""},
			{wire.ResourceKey{Kind: wire.KindService, ID: "s2"}, false, "update it"},
		} {
			st := stateOf(want.key, got[0].Resources)
			if len(got[0].Resources) != 4 || st.Key() != want.key || st.Up != want.up || !contains(st.Problem, want.says) || (st.ProblemID == wire.OldVersion) == (want.says == "") {
				t.Errorf("state %+v, want %+v", st, want)
			}
		}
		if s := e.Status(); len(s.Problems) != 1 || !contains(s.Problems[0], "update it") || len(s.Services) != 2 {
			t.Errorf("status = %+v", s)
		}
	})
}

func TestWhatIsWantedOfABoardIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDesired(4)
		for i := range wire.MaxResources + 1 {
			d.Resources = append(d.Resources, pin(fmt.Sprint(i), 0))
		}
		e, _ := engineFor(t, noDialer{}, nil)
		if err := e.adopt(d); s4t.KindOf(err) != s4t.TooMany {
			t.Errorf("adopt = %v, want too many", err)
		}

		d.Resources = nil
		for i := range s4t.MaxBridgePorts + 2 {
			p := testPort()
			p.Interface = fmt.Sprintf("s4t-%04d", i)
			d.Resources = append(d.Resources, wire.NewResource(wire.KindPort, fmt.Sprintf("port-%04d", i), p))
		}
		if err := e.adopt(d); err != nil {
			t.Fatal(err)
		}
		defer e.kinds.close()
		synctest.Wait()
		states, _ := e.kinds.states()
		if len(states) != s4t.MaxBridgePorts+2 {
			t.Fatalf("%d states", len(states))
		}
		for _, st := range states {
			if over := st.ID >= "port-0250"; contains(st.Problem, "250 ports") != over {
				t.Errorf("port %s: %+v", st.ID, st)
			}
		}
	})
}

// TestReportsAreNumbered: also one that failed has a number, for it may arrive
// after the next.
func TestReportsAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		c.fails[wamp.Report] = s4t.Errorf(s4t.Timeout, "report", "", "no answer")
		e, _ := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		time.Sleep(2 * retryCall)
		synctest.Wait()
		c.tell(testDesired(5))
		synctest.Wait()
		var numbers []int64
		for _, r := range c.reported() {
			numbers = append(numbers, r.Seq)
		}
		if !slices.Equal(numbers, []int64{2, 3}) {
			t.Errorf("reports %v arrived, want 2 and 3: 1 failed", numbers)
		}
	})
}

func TestStreamsAreUpWhenAnIdleRtunnelIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDesired(4)
		d.Resources = []wire.Resource{wire.NewResource(wire.KindStreams, string(boardA), wire.DesiredStreams{URL: "https://127.0.0.1:8812", Warm: 1})}
		c := newFakeCloud(d)
		dialer := &pipeDialer{agents: make(chan *rtunnel.Conn, 4)}
		e, _ := engineFor(t, dialer, always(c))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		e.kinds.run(ctx, &running)
		stop := run(t, e)
		defer func() { stop(); cancel(); running.Wait() }()
		agent := <-dialer.agents
		defer agent.Close()
		time.Sleep(reportDelay)
		synctest.Wait()
		got := c.reported()
		if len(got) != 1 || len(got[0].Resources) != 1 || !got[0].Resources[0].Up {
			t.Fatalf("reports = %+v, want one that says it is up", got)
		}
		dialer.setFails(s4t.Errorf(s4t.Unavailable, "dial", "", "the tunnel agent is away"))
		agent.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		got = c.reported()
		last := got[len(got)-1]
		if st := last.Resources[0]; st.Up || !contains(st.Problem, "the tunnel agent is away") || !slices.Contains(last.Problems, st.Problem) {
			t.Errorf("report = %+v, want one that says why it is not up", last)
		}
	})
}
