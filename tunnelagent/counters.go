package tunnelagent

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// portCounters answers what a port counted since its data rtunnel came, or an
// uplink since it was made.
func (a *Agent) portCounters(_ context.Context, req wire.PortCountersAsk) (s4t.PortCounters, error) {
	if n, ok := a.countersOf(req.Port); ok {
		return n, nil
	}
	return s4t.PortCounters{}, s4t.Errorf(s4t.NotFound, "count port "+string(req.Port), "", "its data rtunnel is not here")
}

// counters answers for many at once.
func (a *Agent) counters(_ context.Context, req wire.CountersAsk) (wire.Counters, error) {
	answer := wire.Counters{Ports: map[s4t.PortID]s4t.PortCounters{}}
	for _, id := range req.Ports {
		if n, ok := a.countersOf(id); ok {
			answer.Ports[id] = n
		}
	}
	return answer, nil
}

// countersOf finds the counters of a port, or of the uplink of a network.
func (a *Agent) countersOf(id s4t.PortID) (s4t.PortCounters, bool) {
	if n, ok := a.ports.counters(id); ok {
		return n, true
	}
	return a.uplinks.counters(s4t.NetworkID(id))
}
