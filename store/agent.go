package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Agent is a WAMP agent or a tunnel agent.
type Agent struct {
	ID          s4t.AgentID
	Kind        string // wire.AgentWAMP or wire.AgentTunnel
	Incarnation string
	URL         string // https://host:port
	Host        string // of its public ports
	PublicMin   int    // first and last public port; 0: it has none
	PublicMax   int
	Generation  int64 // of its desired state
	Applied     int64 // the last one it said it has
	Online      bool
	SeenAt      time.Time
}

const agentColumns = `id, kind, incarnation, url, host, public_min, public_max, generation, applied, online, seen_at`

func scanAgent(s scanner) (Agent, error) {
	var a Agent
	var seen int64
	err := s.Scan(&a.ID, &a.Kind, &a.Incarnation, &a.URL, &a.Host, &a.PublicMin, &a.PublicMax, &a.Generation, &a.Applied, flag(&a.Online), &seen)
	a.SeenAt = fromMicros(seen)
	return a, err
}

// PutAgent adds an agent, or changes everything of it but its generation.
func (tx *Tx) PutAgent(a Agent) error {
	_, err := tx.exec(fmt.Sprintf("record agent %q", a.ID),
		`INSERT INTO agents (`+agentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, incarnation = excluded.incarnation, url = excluded.url, host = excluded.host,
			public_min = excluded.public_min, public_max = excluded.public_max, applied = excluded.applied, online = excluded.online, seen_at = excluded.seen_at`,
		a.ID, a.Kind, a.Incarnation, a.URL, a.Host, a.PublicMin, a.PublicMax, a.Applied, bit(a.Online), micros(a.SeenAt))
	return err
}

// Agent returns an agent.
func (tx *Tx) Agent(id s4t.AgentID) (Agent, error) {
	return one(tx, fmt.Sprintf("find agent %q", id), scanAgent, `SELECT `+agentColumns+` FROM agents WHERE id = ?`, id)
}

// Agents returns the agents of a kind; "" means all.
func (tx *Tx) Agents(kind string) ([]Agent, error) {
	return many(tx, "list agents", scanAgent, `SELECT `+agentColumns+` FROM agents WHERE ? = '' OR kind = ? ORDER BY id`, kind, kind)
}

// GrowAgent makes a new generation of an agent's desired state and returns its
// number.
func (tx *Tx) GrowAgent(id s4t.AgentID) (int64, error) {
	return one(tx, fmt.Sprintf("change the desired state of agent %q", id), value[int64],
		`UPDATE agents SET generation = generation + 1 WHERE id = ? RETURNING generation`, id)
}

// AgentLoads returns how many ports and services each tunnel agent has.
func (tx *Tx) AgentLoads() (map[s4t.AgentID]int, error) {
	type load struct {
		agent s4t.AgentID
		n     int
	}
	rows, err := many(tx, "count the ports of agents", func(s scanner) (l load, err error) {
		err = s.Scan(&l.agent, &l.n)
		return
	}, `SELECT n.tunnel_agent, COUNT(*) FROM ports p JOIN networks n ON n.id = p.network GROUP BY n.tunnel_agent
		UNION ALL SELECT agent, COUNT(*) FROM services GROUP BY agent`)
	if err != nil {
		return nil, err
	}
	loads := map[s4t.AgentID]int{}
	for _, l := range rows {
		loads[l.agent] += l.n
	}
	return loads, nil
}
