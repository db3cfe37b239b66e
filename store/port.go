package store

import (
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Port is a port with what only the conductor needs.
type Port struct {
	s4t.Port
	TunnelAgent s4t.AgentID       // where its board has its data rtunnel: OwnAgent, or that of its network
	OwnAgent    s4t.AgentID       // another than its network's; empty: none
	Leaving     s4t.AgentID       // that has it, too, as it moves away from there; empty: none
	Layer       int               // of its network
	Encap       s4t.Encapsulation // of its network
	BoardStatus s4t.BoardStatus
	CreatedAt   time.Time
	Lease       s4t.LeaseID // that made it; empty: none
}

// agentOfPort is the tunnel agent of a port p on a network n.
const agentOfPort = `CASE WHEN p.tunnel_agent <> '' THEN p.tunnel_agent ELSE n.tunnel_agent END`

var portSelect = `SELECT p.id, p.network, p.project, b.name, p.board, p.mac, p.interface, p.guards, p.gre_local, p.created_at, n.mtu, n.gre_key, ` + agentOfPort + `, p.tunnel_agent, p.leaving, p.lease, n.layer, n.encapsulation,
		` + statusOf("s") + `, ` + boardSays + `, ` + agentSays + `
	FROM ports p JOIN networks n ON n.id = p.network JOIN boards b ON b.id = p.board JOIN presence s ON s.board = p.board `

var portJoins = portSelect + onBoard(wire.KindPort, "p.id", "p.board") + atAgent(wire.KindPort, "p.id", agentOfPort)

func scanPort(s scanner) (Port, error) {
	var p Port
	var mac, gre sql.NullString
	var guards, agentProblem string
	var boardUp, agentUp, wasUp bool
	var key uint32
	var created int64
	if err := s.Scan(&p.ID, &p.Network, &p.Project, &p.Board, &p.BoardID, &mac, &p.Interface, &guards, &gre, &created, &p.MTU, &key, &p.TunnelAgent, &p.OwnAgent, &p.Leaving, &p.Lease, &p.Layer, &p.Encap,
		&p.BoardStatus, flag(&boardUp), &p.Problem, flag(&agentUp), flag(&wasUp), &agentProblem); err != nil {
		return p, err
	}
	p.MAC, p.Addresses, p.CreatedAt = mac.String, []string{}, fromMicros(created)
	p.Status = standing(boardUp && agentUp, wasUp)
	if gre.Valid {
		p.GRE = &s4t.PortGRE{Local: gre.String, Key: key}
	}
	if p.Problem == "" {
		p.Problem = agentProblem
	}
	return p, fromJSON(guards, &p.Guards)
}

// InsertPort adds a port with its addresses. A MAC, an address of the network,
// an outer address or an interface name that is taken is a Conflict on
// ports.mac, addresses.address, ports.gre_local or ports.interface; a board
// that is on the network already is one on ports.network.
func (tx *Tx) InsertPort(p Port) error {
	op := fmt.Sprintf("create a port for board %q", p.Board)
	gre := ""
	if p.GRE != nil {
		gre = p.GRE.Local
	}
	if _, err := tx.exec(op,
		`INSERT INTO ports (id, network, project, board, mac, interface, guards, gre_local, created_at, tunnel_agent, lease) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.ID, p.Network, p.Project, p.BoardID, textOrNull(p.MAC), p.Interface, jsonText(p.Guards), textOrNull(gre), micros(p.CreatedAt), p.OwnAgent, p.Lease); err != nil {
		return err
	}
	for i, a := range p.Addresses {
		prefix, err := netip.ParsePrefix(a)
		if err != nil {
			return s4t.Errorf(s4t.Internal, op, "", "%w", err)
		}
		if _, err := tx.exec(op, `INSERT INTO addresses (network, address, bits, port, place) VALUES (?, ?, ?, ?, ?)`,
			p.Network, prefix.Addr().String(), prefix.Bits(), p.ID, i); err != nil {
			return err
		}
	}
	return nil
}

// DeletePort deletes a port; its addresses are free again.
func (tx *Tx) DeletePort(id s4t.PortID) error {
	_, err := tx.exec(fmt.Sprintf("delete port %q", id), `DELETE FROM ports WHERE id = ?`, id)
	return err
}

// Port returns a port.
func (tx *Tx) Port(id s4t.PortID) (Port, error) {
	p, err := one(tx, fmt.Sprintf("find port %q", id), scanPort, portJoins+`WHERE p.id = ?`, id)
	if err != nil {
		return p, err
	}
	list := []Port{p}
	err = tx.withAddresses(list)
	return list[0], err
}

// Ports returns a page of the ports of a project, in the order they were made;
// "" means every project.
func (tx *Tx) Ports(project s4t.ProjectID, p wire.Page) (wire.List[Port], error) {
	list, err := page(tx, "list ports", p, order[Port]{"p.created_at, p.id", func(p Port) []any { return []any{micros(p.CreatedAt), string(p.ID)} }},
		scanPort, portJoins, equal(filter{}, "p.project", project))
	if err == nil {
		err = tx.withAddresses(list.Items)
	}
	return list, err
}

// PortsOfNetwork returns the ports of a network in the order they were made.
func (tx *Tx) PortsOfNetwork(id s4t.NetworkID) ([]Port, error) { return tx.ports(`p.network = ?`, id) }

// PortsOfNetworks returns the ports of some networks, each in the order they
// were made.
func (tx *Tx) PortsOfNetworks(ids []s4t.NetworkID) (map[s4t.NetworkID][]Port, error) {
	ports, err := manyIn(tx, "list ports", scanPort, portJoins+`WHERE p.network IN `, nil, ids, ` ORDER BY p.created_at, b.name, p.id`)
	if err == nil {
		err = tx.withAddresses(ports)
	}
	found := make(map[s4t.NetworkID][]Port, len(ids))
	for _, p := range ports {
		found[p.Network] = append(found[p.Network], p)
	}
	return found, err
}

// CountPorts returns how many ports a board has.
func (tx *Tx) CountPorts(board s4t.BoardID) (int, error) {
	return one(tx, "count the ports of a board", value[int], `SELECT COUNT(*) FROM ports WHERE board = ?`, board)
}

// PortsOfBoard returns the ports of a board.
func (tx *Tx) PortsOfBoard(id s4t.BoardID) ([]Port, error) { return tx.ports(`p.board = ?`, id) }

// PortsOfLease returns the ports that a lease made.
func (tx *Tx) PortsOfLease(id s4t.LeaseID) ([]Port, error) {
	return tx.ports(`p.lease = ? AND p.lease <> ''`, id)
}

func (tx *Tx) ports(where string, args ...any) ([]Port, error) {
	ports, err := many(tx, "list ports", scanPort, portJoins+`WHERE `+where+` ORDER BY p.created_at, b.name, p.id`, args...)
	if err == nil {
		err = tx.withAddresses(ports)
	}
	return ports, err
}

// Member says that boards of a status are on a network at a tunnel agent.
type Member struct {
	Agent   s4t.AgentID // empty: the network's own
	Leaving s4t.AgentID // that has their ports, too; empty: none
	Status  s4t.BoardStatus
}

// MembersOf returns where the boards on a network are, and the statuses that they
// have, each once.
func (tx *Tx) MembersOf(id s4t.NetworkID) ([]Member, error) {
	return many(tx, "list the boards on a network", func(s scanner) (m Member, err error) {
		err = s.Scan(&m.Agent, &m.Leaving, &m.Status)
		return
	}, `SELECT DISTINCT p.tunnel_agent, p.leaving, s.status FROM ports p JOIN presence s ON s.board = p.board WHERE p.network = ?`, id)
}

// withAddresses gives ports their addresses.
func (tx *Tx) withAddresses(ports []Port) error {
	at, ids := index(ports, func(p Port) s4t.PortID { return p.ID })
	type taken struct {
		port    s4t.PortID
		address string
		bits    int
	}
	all, err := manyIn(tx, "list addresses", func(s scanner) (t taken, err error) {
		err = s.Scan(&t.port, &t.address, &t.bits)
		return
	}, `SELECT port, address, bits FROM addresses WHERE port IN `, nil, ids, ` ORDER BY port, place`)
	for _, t := range all {
		p := &ports[at[t.port]]
		p.Addresses = append(p.Addresses, fmt.Sprintf("%s/%d", t.address, t.bits))
	}
	return err
}

// PortStatuses returns how the ports of a network stand.
func (tx *Tx) PortStatuses(id s4t.NetworkID) ([]s4t.Port, error) {
	return many(tx, "list the statuses of ports", func(s scanner) (p s4t.Port, err error) {
		var up, wasUp bool
		err = s.Scan(&p.ID, flag(&up), flag(&wasUp))
		p.Status = standing(up, wasUp)
		return
	}, `SELECT p.id, CASE WHEN rb.up = 1 AND ra.up = 1 THEN 1 ELSE 0 END, COALESCE(ra.was_up, 0) FROM ports p JOIN networks n ON n.id = p.network `+
		onBoard(wire.KindPort, "p.id", "p.board")+atAgent(wire.KindPort, "p.id", agentOfPort)+`WHERE p.network = ?`, id)
}

// TakenAddresses returns the addresses of a network that ports have.
func (tx *Tx) TakenAddresses(id s4t.NetworkID) (map[netip.Addr]bool, error) {
	texts, err := many(tx, "list addresses", value[string], `SELECT address FROM addresses WHERE network = ?`, id)
	if err != nil {
		return nil, err
	}
	taken := make(map[netip.Addr]bool, len(texts))
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if err != nil {
			return nil, s4t.Errorf(s4t.Internal, "list addresses", "", "%w", err)
		}
		taken[a] = true
	}
	return taken, nil
}

// GRELocalTaken reports whether a port has this outer address.
func (tx *Tx) GRELocalTaken(a netip.Addr) (bool, error) {
	n, err := one(tx, "look for an outer address", value[int64], `SELECT COUNT(*) FROM ports WHERE gre_local = ?`, a.String())
	return n > 0, err
}
