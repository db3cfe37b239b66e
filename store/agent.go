package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Lost is how far the conductor is with the sessions that ended with their
// agent.
type Lost int

// What is to be done about them.
const (
	LostNone  Lost = iota // nothing: there are none
	LostNew               // to tell of them
	LostStill             // to write off those whose boards do not come back
)

// Drain is how far an agent is with giving up what it has.
type Drain int

// What has been asked of an agent.
const (
	DrainNot   Drain = iota // nothing: it takes what comes
	DrainBegun              // it takes nothing new, and what it has moves to others
	DrainDone               // it has nothing that can move, and that was told
)

// Agent is a WAMP agent or a tunnel agent.
type Agent struct {
	ID          s4t.AgentID
	Kind        string // wire.AgentWAMP or wire.AgentTunnel
	Incarnation string
	Replaced    string // the incarnation before
	URL         string // https://host:port
	Host        string // of its public ports
	PublicPorts s4t.PortRange
	Generation  int64 // of its desired state
	Applied     int64 // the last one it said it has
	ReportSeq   int64 // of its last report
	DesiredSum  wire.Sum
	SaidSum     wire.Sum
	Online      bool
	SeenAt      time.Time // by the database's clock, as the next
	LeaseUntil  time.Time // nobody else has what it holds until then
	Since       time.Time // when this incarnation came
	Lost        Lost      // what is still to be done about sessions that ended with it
	Drain       Drain
	Place       string // where it is, as its operator calls it; empty: nowhere in particular
	Version     string // of iotronic
	Peers       bool   // a tunnel agent that can be at a network together with others
}

// Status is whether the agent serves.
func (a Agent) Status() s4t.AgentStatus {
	switch {
	case !a.Online:
		return s4t.AgentOffline
	case a.Drain == DrainBegun:
		return s4t.AgentDraining
	case a.Drain == DrainDone:
		return s4t.AgentDrained
	}
	return s4t.AgentOnline
}

// Takes reports whether what is new may be placed at an agent of a kind.
func (a Agent) Takes(kind string) bool { return a.Kind == kind && a.Online && a.Drain == DrainNot }

const agentColumns = `id, kind, incarnation, replaced, url, host, public_min, public_max, generation, applied, report_seq, desired_sum, said_sum, online, seen_at, lease_until, since, lost, drain, place, version, peers`

func (tx *Tx) scanAgent(s scanner) (Agent, error) {
	var a Agent
	var seen, lease, since int64
	err := s.Scan(&a.ID, &a.Kind, &a.Incarnation, &a.Replaced, &a.URL, &a.Host, &a.PublicPorts.First, &a.PublicPorts.Last,
		&a.Generation, &a.Applied, &a.ReportSeq, &a.DesiredSum, &a.SaidSum, flag(&a.Online), &seen, &lease, &since, &a.Lost, &a.Drain, &a.Place, &a.Version, flag(&a.Peers))
	a.SeenAt, a.LeaseUntil, a.Since = fromMicros(seen), fromMicros(lease), fromMicros(since)
	if tx.alone() {
		tx.db.present.of(&a)
	}
	return a, err
}

// PutAgent adds an agent, or changes what it says of itself, its sequence of
// reports and its lease; see GrowAgent and SetAgentDrain for the rest.
func (tx *Tx) PutAgent(a Agent) error {
	if tx.alone() {
		tx.db.present.hear(a)
		if tx.heard == nil {
			tx.heard = map[s4t.AgentID]heard{}
		}
		tx.heard[a.ID] = heard{seen: micros(a.SeenAt)}
	}
	_, err := tx.exec(fmt.Sprintf("record agent %q", a.ID),
		`INSERT INTO agents (`+agentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, 0, 0, ?, ?, ?, ?, ?, 0, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, incarnation = excluded.incarnation, replaced = excluded.replaced, url = excluded.url, host = excluded.host,
			public_min = excluded.public_min, public_max = excluded.public_max, applied = excluded.applied, report_seq = excluded.report_seq,
			online = excluded.online, seen_at = excluded.seen_at, lease_until = excluded.lease_until, since = excluded.since, lost = excluded.lost,
			place = excluded.place, version = excluded.version, peers = excluded.peers`,
		a.ID, a.Kind, a.Incarnation, a.Replaced, a.URL, a.Host, a.PublicPorts.First, a.PublicPorts.Last, a.Applied, a.ReportSeq, bit(a.Online), micros(a.SeenAt), tx.leaseInRow(micros(a.LeaseUntil)), micros(a.Since), a.Lost, a.Place, a.Version, bit(a.Peers))
	return err
}

// Agent returns an agent.
func (tx *Tx) Agent(id s4t.AgentID) (Agent, error) {
	return one(tx, fmt.Sprintf("find agent %q", id), tx.scanAgent, `SELECT `+agentColumns+` FROM agents WHERE id = ?`, id)
}

// LockAgent returns an agent and holds it until the transaction ends.
func (tx *Tx) LockAgent(id s4t.AgentID) (Agent, error) {
	return one(tx, fmt.Sprintf("find agent %q", id), tx.scanAgent, `SELECT `+agentColumns+` FROM agents WHERE id = ?`+tx.forUpdate(), id)
}

// LockHolders holds boards and agents, whose ids are sorted, until the
// transaction ends: nobody else changes what is wanted of them, or what they
// say. A board that has gone meanwhile is NotFound.
func (tx *Tx) LockHolders(boards []s4t.BoardID, agents []s4t.AgentID) error {
	if tx.forUpdate() == "" {
		return nil
	}
	if err := tx.LockBoards(boards); err != nil {
		return err
	}
	_, err := manyIn(tx, "hold agents", value[s4t.AgentID], `SELECT id FROM agents WHERE id IN `, nil, agents, ` ORDER BY id`+tx.forUpdate())
	return err
}

// Agents returns all agents.
func (tx *Tx) Agents() ([]Agent, error) {
	return many(tx, "list agents", tx.scanAgent, `SELECT `+agentColumns+` FROM agents ORDER BY id`)
}

// GrowAgent makes a new generation of an agent's desired state and returns the
// agent. The sums of what is wanted of it, and of what it said, change by
// these.
func (tx *Tx) GrowAgent(id s4t.AgentID, desired, said wire.Sum) (Agent, error) {
	return one(tx, fmt.Sprintf("change the desired state of agent %q", id), tx.scanAgent,
		`UPDATE agents SET generation = generation + 1, desired_sum = (desired_sum + ?) % 4611686018427387904, said_sum = (said_sum + ?) % 4611686018427387904
		WHERE id = ? RETURNING `+agentColumns, desired, said, id)
}

// AddSaidSum changes the sum of what an agent said.
func (tx *Tx) AddSaidSum(id s4t.AgentID, sum wire.Sum) error {
	_, err := tx.exec(fmt.Sprintf("record what agent %q said", id), `UPDATE agents SET said_sum = (said_sum + ?) % 4611686018427387904 WHERE id = ?`, sum, id)
	return err
}

// SetReported writes how far an agent is: the generation that it has applied,
// the sequence of its last report, and the sum of what it said.
func (tx *Tx) SetReported(a Agent) error {
	_, err := tx.exec(fmt.Sprintf("take the report of agent %q", a.ID), `UPDATE agents SET applied = ?, report_seq = ?, said_sum = ? WHERE id = ?`, a.Applied, a.ReportSeq, a.SaidSum, a.ID)
	return err
}

// SetAgentLost writes how far the conductor is with the sessions that ended with
// an incarnation's predecessor, or with its silence.
func (tx *Tx) SetAgentLost(a Agent, lost Lost) error {
	_, err := tx.exec(fmt.Sprintf("record agent %q", a.ID), `UPDATE agents SET lost = ? WHERE id = ? AND incarnation = ? AND online = ?`, lost, a.ID, a.Incarnation, bit(a.Online))
	return err
}

// SetAgentDrain writes how far an agent is with giving up what it has; of several
// that write the same step, one is told that it did.
func (tx *Tx) SetAgentDrain(id s4t.AgentID, drain Drain) (bool, error) {
	n, err := tx.exec(fmt.Sprintf("drain agent %q", id), `UPDATE agents SET drain = ? WHERE id = ? AND drain <> ?`, drain, id, drain)
	return n > 0, err
}

// AgentLoads returns how much each tunnel agent has to carry: networks,
// services and boards that are placed there.
func (tx *Tx) AgentLoads() (map[s4t.AgentID]int, error) {
	loads := map[s4t.AgentID]int{}
	return loads, count(tx, "count what agents carry", loads, `SELECT a.id, (SELECT COUNT(*) FROM boards b WHERE b.tunnel_agent = a.id) + (SELECT COUNT(*) FROM services s WHERE s.agent = a.id)
		+ (SELECT COUNT(*) FROM networks n WHERE n.tunnel_agent = a.id) + `+networksBeside+` FROM agents a`)
}
