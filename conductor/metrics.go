package conductor

import (
	"context"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// metricsPage is how many ports one answer describes: 300 KB at most.
const metricsPage = 500

// metrics answers with what the caller may see in figures.
func (c *Conductor) metrics(ctx context.Context, req wire.MetricsAsk) (wire.Metrics, error) {
	if err := allow(req.Caller, "read metrics", s4t.RoleReader); err != nil {
		return wire.Metrics{}, err
	}
	m := wire.Metrics{Ports: []wire.PortMetrics{}}
	ask := map[s4t.AgentID][]s4t.PortID{}
	_, err := view(ctx, c, func(tx *store.Tx) (struct{}, error) {
		if req.After == "" {
			if err := c.metricsOnce(tx, req.Caller, &m, ask); err != nil {
				return struct{}{}, err
			}
		}
		ports, err := tx.Ports(scope(req.Caller), wire.Page{Limit: metricsPage, After: req.After})
		m.Next = ports.Next
		for _, p := range ports.Items {
			m.Ports = append(m.Ports, wire.PortMetrics{ID: p.ID, Board: p.Board, Network: p.Network, Project: p.Project, Status: p.Status})
			ask[p.TunnelAgent] = append(ask[p.TunnelAgent], p.ID)
		}
		return struct{}{}, err
	})
	if err != nil {
		return wire.Metrics{}, err
	}
	counted := c.counted(ctx, ask)
	for i := range m.Ports {
		m.Ports[i].Counters = counted(m.Ports[i].ID)
	}
	for i := range m.Uplinks {
		m.Uplinks[i].Counters = counted(s4t.PortID(m.Uplinks[i].Network))
	}
	return m, nil
}

// metricsOnce adds what is in the first page only.
func (c *Conductor) metricsOnce(tx *store.Tx, caller wire.Caller, m *wire.Metrics, ask map[s4t.AgentID][]s4t.PortID) error {
	var err error
	if m.Boards, err = tx.CountBoards(scope(caller)); err != nil {
		return err
	}
	uplinks, err := tx.Uplinks(scope(caller))
	for _, u := range uplinks {
		m.Uplinks = append(m.Uplinks, wire.UplinkMetrics{Network: u.Network, Name: u.Name, Project: u.Project, Bridge: u.Bridge, Status: u.Status})
		ask[u.Agent] = append(ask[u.Agent], s4t.PortID(u.Network))
	}
	return err
}

// counted asks the tunnel agents and returns what they say of a port, nil
// where they say nothing.
func (c *Conductor) counted(ctx context.Context, ask map[s4t.AgentID][]s4t.PortID) func(s4t.PortID) *s4t.PortCounters {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all := map[s4t.PortID]s4t.PortCounters{}
	for agent, ports := range ask {
		for part := range slices.Chunk(ports, metricsPage) {
			var answer wire.Counters
			if c.cfg.Queue.Call(ctx, wire.TopicTunnelAgent+"."+string(agent), wire.MethodCounters, wire.CountersAsk{Ports: part}, &answer) == nil {
				for id, n := range answer.Ports {
					all[id] = n
				}
			}
		}
	}
	return func(id s4t.PortID) *s4t.PortCounters {
		if n, ok := all[id]; ok {
			return &n
		}
		return nil
	}
}
