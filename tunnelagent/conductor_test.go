package tunnelagent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// fakeConductor does what the conductor does for a tunnel agent: it keeps
// desired state by generations, and what it is told. It complains about what no
// agent may say.
type fakeConductor struct {
	t   *testing.T
	key ed25519.PublicKey

	mu         sync.Mutex // guards the fields below
	page       int        // resources a page
	lease      time.Duration
	refuse     func(method string) error // before anything else; nil: nothing is refused
	generation int64
	resources  map[wire.ResourceKey]wire.Resource // the gone ones too
	tickets    func(peering string) string        // to other agents
	changed    map[wire.ResourceKey]int64         // in which generation
	spoilt     bool                               // the next answer with differences lacks one

	hellos  int
	asks    []wire.TunnelAsk
	reports int
	whole   int  // how often it asked for all states
	differs bool // the test makes it differ from what it was told: it may ask
	deaf    bool // it hears reports, but its answers are lost
	told    view
	seq     int64
	news    chan struct{} // closed at each report and hello, and replaced
	errors  []string
}

// view is what the conductor was told.
type view struct {
	generation int64
	states     map[wire.ResourceKey]wire.ResourceState
}

func newFakeConductor(t *testing.T, key ed25519.PublicKey) *fakeConductor {
	return &fakeConductor{t: t, key: key, page: wire.MaxPage, resources: map[wire.ResourceKey]wire.Resource{}, changed: map[wire.ResourceKey]int64{},
		generation: 1, told: view{states: map[wire.ResourceKey]wire.ResourceState{}}, news: make(chan struct{})}
}

func (c *fakeConductor) mux() queue.Mux {
	return queue.Mux{
		wire.MethodAgentHello: queue.Handle(func(_ context.Context, req wire.AgentHello) (wire.AgentWelcome, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err := c.refused(wire.MethodAgentHello); err != nil {
				return wire.AgentWelcome{}, err
			}
			c.hellos++
			c.tell()
			return wire.AgentWelcome{TicketKey: c.key, Lease: c.lease}, nil
		}),
		wire.MethodAgentBeat: queue.Handle(func(context.Context, wire.AgentBeat) (wire.AgentLease, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return wire.AgentLease{Lease: c.lease}, c.refused(wire.MethodAgentBeat)
		}),
		wire.MethodTunnelAsk:    queue.Handle(c.desired),
		wire.MethodTunnelTicket: queue.Handle(c.ticket),
		wire.MethodTunnelReport: queue.Handle(c.report),
		wire.MethodTunnelEvent:  queue.Handle(func(context.Context, wire.TunnelEvent) (wire.Empty, error) { return wire.Empty{}, nil }),
	}
}

func (c *fakeConductor) ticket(_ context.Context, req wire.TunnelTicketAsk) (wire.TunnelTicket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tickets == nil {
		return wire.TunnelTicket{}, s4t.Errorf(s4t.Forbidden, "give a ticket", "", "there is no other agent")
	}
	return wire.TunnelTicket{Ticket: c.tickets(req.Peering)}, nil
}

// refused is the error that the test wants. mu is held.
func (c *fakeConductor) refused(method string) error {
	if c.refuse == nil {
		return nil
	}
	return c.refuse(method)
}

// tell wakes who waits for something new. mu is held.
func (c *fakeConductor) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// want makes resources the desired state, and returns its generation.
func (c *fakeConductor) want(resources []wire.Resource) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	next := map[wire.ResourceKey]wire.Resource{}
	for _, r := range resources {
		next[r.Key()] = r
	}
	for key, r := range c.resources {
		if _, stays := next[key]; !stays && !r.Gone {
			next[key] = wire.Resource{Kind: key.Kind, ID: key.ID, Gone: true}
		}
	}
	for key, r := range next {
		if have, had := c.resources[key]; !had || have.Gone != r.Gone || string(have.Spec) != string(r.Spec) {
			c.resources[key], c.changed[key] = r, c.generation
		}
	}
	return c.generation
}

// wanted returns the desired state.
func (c *fakeConductor) wanted() (all []wire.Resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.resources {
		if !r.Gone {
			all = append(all, r)
		}
	}
	return all
}

// desired answers the agent's question, c.page resources at a time.
func (c *fakeConductor) desired(_ context.Context, req wire.TunnelAsk) (wire.TunnelDesired, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused(wire.MethodTunnelAsk); err != nil {
		return wire.TunnelDesired{}, err
	}
	c.asks = append(c.asks, req)
	d := wire.TunnelDesired{Generation: c.generation, Whole: req.Since == 0}
	keys := slices.SortedFunc(maps.Keys(c.resources), func(k, o wire.ResourceKey) int {
		return cmp.Or(cmp.Compare(c.changed[k], c.changed[o]), k.Compare(o))
	})
	at, _ := strconv.Atoi(req.After)
	n := 0
	for _, key := range keys {
		r := c.resources[key]
		if !r.Gone {
			d.Sum = d.Sum.Add(r.Sum())
		}
		if c.changed[key] <= req.Since || d.Whole && r.Gone {
			continue
		}
		if n++; n <= at || d.Next != "" {
			continue
		}
		if len(d.Resources) == c.page {
			d.Next = strconv.Itoa(n - 1)
			continue
		}
		d.Resources = append(d.Resources, r)
	}
	if c.spoilt && !d.Whole && len(d.Resources) > 0 {
		c.spoilt = false
		d.Resources = d.Resources[1:]
	}
	return d, nil
}

// report takes in what the agent has.
func (c *fakeConductor) report(_ context.Context, req wire.TunnelReport) (wire.TunnelReported, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused(wire.MethodTunnelReport); err != nil {
		return wire.TunnelReported{}, err
	}
	if len(req.States) > wire.MaxPage {
		c.errors = append(c.errors, "a report has "+strconv.Itoa(len(req.States))+" states")
	}
	if req.Seq <= c.seq {
		return wire.TunnelReported{}, nil
	}
	c.seq = req.Seq
	c.reports++
	if k := req.Range; k != nil {
		for key := range c.told.states {
			if k.After.Compare(key) < 0 && (k.UpTo == wire.ResourceKey{} || k.UpTo.Compare(key) >= 0) {
				delete(c.told.states, key)
			}
		}
	}
	for _, s := range req.States {
		if s.Sum() == 0 {
			delete(c.told.states, s.Key())
		} else {
			c.told.states[s.Key()] = s
		}
	}
	c.told.generation = req.Generation
	c.tell()
	if c.deaf {
		return wire.TunnelReported{}, s4t.Errorf(s4t.Timeout, "hear the agent", "", "the answer is lost")
	}
	if req.More || req.Generation != c.generation {
		return wire.TunnelReported{}, nil
	}
	var sum wire.Sum
	for _, s := range c.told.states {
		sum = sum.Add(s.Sum())
	}
	if sum != req.Sum {
		c.whole++
	}
	return wire.TunnelReported{Whole: sum != req.Sum}, nil
}

// view returns what it was told, and what is closed when it is told more.
func (c *fakeConductor) view() (view, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return view{c.told.generation, maps.Clone(c.told.states)}, c.news
}

// awaitHello waits for the nth hello.
func (c *fakeConductor) awaitHello(n int) {
	c.t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		hellos, news := c.hellos, c.news
		c.mu.Unlock()
		if hellos >= n {
			return
		}
		select {
		case <-news:
		case <-deadline:
			c.t.Fatalf("%d hellos, want %d", hellos, n)
		}
	}
}

// check complains.
func (c *fakeConductor) check() {
	for _, e := range c.errors {
		c.t.Error(e)
	}
	if c.whole > 0 && !c.differs {
		c.t.Errorf("the sums of states differed %d times", c.whole)
	}
}

// up reports whether a resource is told to be up.
func up[ID ~string](kind wire.Kind, id ID) func(view) bool {
	return func(v view) bool { return v.states[wire.ResourceKey{Kind: kind, ID: string(id)}].Up }
}

// problem is what is told to stand in the way of a resource.
func (v view) problem(kind wire.Kind, id string) string {
	return v.states[wire.ResourceKey{Kind: kind, ID: id}].Problem
}

// all returns the ids of a kind that are up, in order.
func (v view) all(kind wire.Kind) (ids []string) {
	for key, s := range v.states {
		if key.Kind == kind && s.Up {
			ids = append(ids, key.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func unavailable(string) error {
	return s4t.Errorf(s4t.Unavailable, "hear the agent", "", "say hello first")
}
