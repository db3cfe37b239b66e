package conductor

import (
	"cmp"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// placeLabel is the label that says where a board is: an agent of that place is
// preferred for it (iotronic --place).
const placeLabel = "place"

// placing chooses tunnel agents for many objects of one change.
type placing struct {
	agents []store.Agent // that take what is new
	loads  map[s4t.AgentID]int
}

// placing looks at the tunnel agents that take what is new.
func (ch *change) placing() (*placing, error) {
	agents, err := ch.Agents()
	if err != nil {
		return nil, err
	}
	p := &placing{agents: slices.DeleteFunc(agents, func(a store.Agent) bool { return !a.Takes(wire.AgentTunnel) })}
	if len(p.agents) > 1 {
		p.loads, err = ch.AgentLoads()
	}
	return p, err
}

// take returns the agent that has the least to carry, of those of a place, where
// there are any; and counts what it is given. There may be none.
func (p *placing) take(place string) (store.Agent, bool) {
	if len(p.agents) == 0 {
		return store.Agent{}, false
	}
	elsewhere := func(a store.Agent) int {
		if place == "" || a.Place == place {
			return 0
		}
		return 1
	}
	a := slices.MinFunc(p.agents, func(a, b store.Agent) int {
		return cmp.Or(elsewhere(a)-elsewhere(b), p.loads[a.ID]-p.loads[b.ID])
	})
	if p.loads != nil {
		p.loads[a.ID]++
	}
	return a, true
}

// place returns the tunnel agent for something new of a place.
func (ch *change) place(op, place string) (store.Agent, error) {
	p, err := ch.placing()
	if err != nil {
		return store.Agent{}, err
	}
	a, ok := p.take(place)
	if !ok {
		return a, s4t.Errorf(s4t.Unavailable, op, "try again in a moment; `iotronic status` says how the agents are", "no tunnel agent is there that takes anything new")
	}
	return a, nil
}

// placeBoard makes sure that the board has a tunnel agent for its services and
// streams, and returns it. One that is silent is given up where another one is
// there.
func (ch *change) placeBoard(op string, b *store.Board) (store.Agent, error) {
	var was store.Agent
	if b.TunnelAgent != "" {
		var err error
		if was, err = ch.Agent(b.TunnelAgent); err != nil || was.Online {
			return was, err
		}
	}
	a, err := ch.place(op, b.Labels[placeLabel])
	switch {
	case was.ID == "" && err != nil:
		return a, err
	case err != nil && s4t.KindOf(err) != s4t.Unavailable:
		return a, err
	case err != nil || a.ID == was.ID || ch.Now().Sub(was.SeenAt) < agentTimeout:
		return was, nil // it may be back in a moment
	}
	if err := ch.moveBoard(b, was, a); err != nil || b.TunnelAgent == a.ID {
		return a, err
	}
	return ch.Agent(b.TunnelAgent) // another request moved it in the same moment
}
