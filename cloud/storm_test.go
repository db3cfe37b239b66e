package cloud

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp/router"
)

// bottleneck is what several agents share: a database, or the cores of one machine. It
// has boards' sessions begin in the order in which they came, so many a second; who is
// sent away costs some of it, too.
type bottleneck struct {
	mu     sync.Mutex // guards the fields below
	gates  []*gate
	ways   []router.Arrivals // of the boards of each agent, and when they set out or got there last
	last   []time.Time
	queue  []onWay
	rate   float64 // sessions a second
	budget float64 // sessions that it could have begun since
	sends  float64 // the same, for those that were sent away
	away   int64   // how many those were until then
	begun  int     // sessions, of boards that still waited for it
	failed int     // boards that gave up
}

// onWay is a board that was let in.
type onWay struct {
	agent int
	since time.Time
	done  chan struct{} // closed when its session has begun
	gone  *bool
}

// arrivals is what an agent's router says.
func (b *bottleneck) arrivals(agent int) router.Arrivals {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.ways[agent]
	if a.Beginning > 0 {
		a.Pace = max(a.Pace, time.Since(b.last[agent]))
	}
	return a
}

// step is what it does in a time.
func (b *bottleneck) step(d time.Duration) {
	away := int64(0)
	for _, g := range b.gates {
		away += int64(g.sentAway())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	can := b.rate * d.Seconds()
	b.sends += float64(away-b.away) / (4 * awayPerBegin) // as measured with three agents
	sends := min(b.sends, can/2)
	b.sends -= sends
	b.budget = min(b.budget, 1) + can - sends
	for b.away = away; b.budget >= 1 && len(b.queue) > 0; b.queue = b.queue[1:] {
		w := b.queue[0]
		if *w.gone {
			b.budget -= 0.5 // its handshake
			continue
		}
		b.budget--
		b.begun++
		a := &b.ways[w.agent]
		a.Beginning--
		a.Begun++
		took := time.Since(w.since)
		if a.Pace != 0 {
			took = a.Pace + (took-a.Pace)/16
		}
		a.Pace, b.last[w.agent] = took, time.Now()
		close(w.done)
	}
}

// begin has a board that was let in wait for its session, for as long as boards do.
func (b *bottleneck) begin(agent int) (ok bool) {
	gone := false
	w := onWay{agent, time.Now(), make(chan struct{}), &gone}
	b.mu.Lock()
	if b.ways[agent].Beginning++; b.ways[agent].Beginning == 1 {
		b.last[agent] = time.Now()
	}
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	select {
	case <-w.done:
		return true
	case <-time.After(10 * time.Second):
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.done:
		return true
	default:
	}
	gone = true
	b.ways[agent].Beginning--
	b.failed++
	return false
}

// TestAStormOverSeveralAgents: seven agents share what takes less than the least that one
// of them took for granted. All that is taken is finished, most of what could be done is
// done, and more as soon as more can be.
func TestAStormOverSeveralAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const agents, boards = 7, 1750
		b := &bottleneck{rate: 20, ways: make([]router.Arrivals, agents), last: make([]time.Time, agents)}
		for i := range agents {
			g := newGate()
			g.turns.first, g.turns.least, g.turns.asks, g.turns.rate = 600, 8, 32, 600 // two cores
			g.arrivals = func() router.Arrivals { return b.arrivals(i) }
			b.gates = append(b.gates, g)
		}
		var fleet sync.WaitGroup
		for i := range boards {
			fleet.Go(func() {
				source := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
				agent, told := i%agents, 0
				time.Sleep(rand.N(5 * time.Second)) // as fast as they can dial
				for {
					c, g := &atGate{}, b.gates[agent]
					err := g.enter(t.Context(), c, source)
					if err == nil {
						g.leave(c)
						if b.begin(agent) {
							return
						}
						time.Sleep(time.Second)
						continue
					}
					if told++; told%2 == 0 { // as lightningrod's connector has it
						agent = (agent + 1) % agents
					}
					e, _ := errors.AsType[*s4t.Error](err)
					time.Sleep(e.RetryAfter.Truncate(time.Second) + time.Second + rand.N(time.Second))
				}
			})
		}
		goodput := func(seconds int) float64 {
			before := b.begun
			for range seconds * 20 {
				time.Sleep(50 * time.Millisecond)
				b.step(50 * time.Millisecond)
			}
			return float64(b.begun-before) / float64(seconds) / b.rate
		}
		goodput(20)
		if got := goodput(25); got < 0.8 {
			t.Errorf("in a storm %.2f of what could be done is done", got)
		}
		b.rate = 40
		goodput(5)
		if got := goodput(5); got < 0.8 {
			t.Errorf("when twice as much can be done %.2f of it is done", got)
		}
		if b.failed > 0 {
			t.Errorf("%d boards gave up what was begun", b.failed)
		}
		for b.rate = 1e4; b.begun < boards; {
			if goodput(30) == 0 {
				t.Fatalf("%d of %d boards have a session, and no more come", b.begun, boards)
			}
		}
		fleet.Wait()
	})
}
