package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// What is where, for what moves from one agent to another.

// Carried is what an agent has.
type Carried struct {
	Boards   int // a WAMP agent: with a live session; a tunnel agent: whose streams go through it
	Networks int
	Services int
	Fixed    int // networks that do not move: in a Linux bridge of its host, or with a GRE endpoint there
}

// networksBeside counts the networks of other agents that agent a has ports of.
const networksBeside = `(SELECT COUNT(DISTINCT p.network) FROM ports p WHERE p.tunnel_agent = a.id AND p.tunnel_agent <> '')`

// Carried returns what each agent has.
func (tx *Tx) Carried() (map[s4t.AgentID]Carried, error) {
	carried := map[s4t.AgentID]Carried{}
	_, err := many(tx, "count what agents carry", func(s scanner) (_ struct{}, err error) {
		var id s4t.AgentID
		var c Carried
		err = s.Scan(&id, &c.Boards, &c.Networks, &c.Services, &c.Fixed)
		carried[id] = c
		return
	}, `SELECT a.id, CASE WHEN a.kind = ? THEN (SELECT COUNT(*) FROM presence p WHERE p.wamp_agent = a.id AND p.status = 'online' AND p.incarnation = a.incarnation AND a.online = 1)
			ELSE (SELECT COUNT(*) FROM boards b WHERE b.tunnel_agent = a.id) END,
		(SELECT COUNT(*) FROM networks n WHERE n.tunnel_agent = a.id) + `+networksBeside+`, (SELECT COUNT(*) FROM services s WHERE s.agent = a.id),
		(SELECT COUNT(*) FROM networks n WHERE n.tunnel_agent = a.id AND (EXISTS (SELECT 1 FROM uplinks u WHERE u.network = n.id) OR EXISTS (SELECT 1 FROM gre_endpoints g WHERE g.network = n.id)))
		FROM agents a`, wire.AgentWAMP)
	return carried, err
}

// NetworksToMove returns at most limit networks after one, by id, of which a tunnel
// agent has what another can carry as well: its own, but those that are in a Linux
// bridge of its host, or have a GRE endpoint there, and the ports of others'.
func (tx *Tx) NetworksToMove(agent s4t.AgentID, after s4t.NetworkID, limit int) ([]s4t.NetworkID, error) {
	return many(tx, fmt.Sprintf("list the networks of agent %q", agent), value[s4t.NetworkID], `SELECT id FROM (SELECT n.id FROM networks n WHERE n.tunnel_agent = ? AND n.id > ?
		AND NOT EXISTS (SELECT 1 FROM uplinks u WHERE u.network = n.id) AND NOT EXISTS (SELECT 1 FROM gre_endpoints g WHERE g.network = n.id)
		UNION SELECT p.network AS id FROM ports p WHERE p.tunnel_agent = ? AND p.tunnel_agent <> '' AND p.network > ?) x ORDER BY id LIMIT ?`, agent, after, agent, after, limit)
}

// MoveNetwork writes that another tunnel agent carries a network. The one before
// goes on for a while: until the time leaving.
func (tx *Tx) MoveNetwork(id s4t.NetworkID, from, to s4t.AgentID, leaving time.Time) error {
	if leaving.IsZero() {
		from = ""
	}
	_, err := tx.exec(fmt.Sprintf("move network %q", id), `UPDATE networks SET tunnel_agent = ?, leaving = ?, leaving_until = ? WHERE id = ?`, to, from, micros(leaving), id)
	return err
}

// MovePorts writes that other tunnel agents have ports: each the agent that comes
// with it, empty for its network's. The one before goes on for a while: until the
// time leaving.
func (tx *Tx) MovePorts(ports map[s4t.PortID]s4t.AgentID, from s4t.AgentID, leaving time.Time) error {
	if leaving.IsZero() {
		from = ""
	}
	for _, id := range slices.Sorted(maps.Keys(ports)) {
		if _, err := tx.exec(fmt.Sprintf("move port %q", id), `UPDATE ports SET tunnel_agent = ?, leaving = ?, leaving_until = ? WHERE id = ?`, ports[id], from, micros(leaving), id); err != nil {
			return err
		}
	}
	return nil
}

// PortLeaving is a port that an agent goes on to have though it was moved.
type PortLeaving struct {
	Port    s4t.PortID
	Network s4t.NetworkID
	Until   time.Time
}

// PortsLeaving returns those of an agent.
func (tx *Tx) PortsLeaving(agent s4t.AgentID) ([]PortLeaving, error) {
	return many(tx, fmt.Sprintf("list the ports that leave agent %q", agent), func(s scanner) (p PortLeaving, err error) {
		var until int64
		err = s.Scan(&p.Port, &p.Network, &until)
		p.Until = fromMicros(until)
		return
	}, `SELECT id, network, leaving_until FROM ports WHERE leaving = ? AND leaving <> '' ORDER BY id`, agent)
}

// Peering says that two tunnel agents carry frames of a network to each other.
type Peering struct{ Low, High s4t.AgentID }

// Peerings returns those of a network.
func (tx *Tx) Peerings(network s4t.NetworkID) ([]Peering, error) {
	return many(tx, fmt.Sprintf("list the peerings of network %q", network), func(s scanner) (p Peering, err error) {
		err = s.Scan(&p.Low, &p.High)
		return
	}, `SELECT low, high FROM peerings WHERE network = ? ORDER BY low, high`, network)
}

// InsertPeering adds one.
func (tx *Tx) InsertPeering(network s4t.NetworkID, p Peering) error {
	_, err := tx.exec(fmt.Sprintf("add a peering to network %q", network), `INSERT INTO peerings (network, low, high) VALUES (?, ?, ?)`, network, p.Low, p.High)
	return err
}

// DeletePeering deletes one.
func (tx *Tx) DeletePeering(network s4t.NetworkID, p Peering) error {
	_, err := tx.exec(fmt.Sprintf("delete a peering of network %q", network), `DELETE FROM peerings WHERE network = ? AND low = ? AND high = ?`, network, p.Low, p.High)
	return err
}

// NetworksLeaving returns the networks that an agent goes on to carry though they
// were moved, and until when.
func (tx *Tx) NetworksLeaving(agent s4t.AgentID) (map[s4t.NetworkID]time.Time, error) {
	leaving := map[s4t.NetworkID]time.Time{}
	_, err := many(tx, fmt.Sprintf("list the networks that leave agent %q", agent), func(s scanner) (_ struct{}, err error) {
		var id s4t.NetworkID
		var until int64
		err = s.Scan(&id, &until)
		leaving[id] = fromMicros(until)
		return
	}, `SELECT id, leaving_until FROM networks WHERE leaving = ? AND leaving <> ''`, agent)
	return leaving, err
}

// AgentsLeft returns the agents that go on to carry networks or ports which were
// moved, and when the first of these leaves.
func (tx *Tx) AgentsLeft() (map[s4t.AgentID]time.Time, error) {
	left := map[s4t.AgentID]time.Time{}
	_, err := many(tx, "list the agents that networks leave", func(s scanner) (_ struct{}, err error) {
		var id s4t.AgentID
		var until int64
		err = s.Scan(&id, &until)
		left[id] = fromMicros(until)
		return
	}, `SELECT leaving, MIN(leaving_until) FROM (SELECT leaving, leaving_until FROM networks WHERE leaving <> ''
		UNION ALL SELECT leaving, leaving_until FROM ports WHERE leaving <> '') x GROUP BY leaving`)
	return left, err
}

// NetworksLeft writes that an agent does not carry those any more that it went on
// to carry until now.
func (tx *Tx) NetworksLeft(agent s4t.AgentID, now time.Time) error {
	for _, table := range []string{"networks", "ports"} {
		if _, err := tx.exec(fmt.Sprintf("take networks from agent %q", agent), `UPDATE `+table+` SET leaving = '', leaving_until = 0 WHERE leaving = ? AND leaving <> '' AND leaving_until <= ?`, agent, micros(now)); err != nil {
			return err
		}
	}
	return nil
}

// BoardsToMove returns at most limit boards of a tunnel agent after one, by id:
// those with services, or all.
func (tx *Tx) BoardsToMove(agent s4t.AgentID, services bool, after s4t.BoardID, limit int) ([]s4t.BoardID, error) {
	op := fmt.Sprintf("list the boards of agent %q", agent)
	if services {
		return many(tx, op, value[s4t.BoardID], `SELECT DISTINCT board FROM services WHERE agent = ? AND board > ? ORDER BY board LIMIT ?`, agent, after, limit)
	}
	return many(tx, op, value[s4t.BoardID], `SELECT id FROM boards WHERE tunnel_agent = ? AND id > ? ORDER BY id LIMIT ?`, agent, after, limit)
}
