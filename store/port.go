package store

import (
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/stack4things/s4t"
)

// Port is a port with its two halves.
type Port struct {
	s4t.Port
	BoardUp      bool // as the board reported in its present session
	AgentUp      bool // as the tunnel agent reported
	BoardProblem string
	AgentProblem string
	TunnelAgent  s4t.AgentID       // of its network
	Layer        int               // of its network
	Encap        s4t.Encapsulation // of its network
	BoardOnline  bool
	CreatedAt    time.Time
}

const portSelect = `SELECT p.id, p.network, p.project, b.name, p.board, p.mac, p.interface, p.guards, p.gre_local, p.board_up, p.agent_up,
		p.board_problem, p.agent_problem, p.status, p.created_at, n.mtu, n.gre_key, n.tunnel_agent, n.layer, n.encapsulation, b.status
	FROM ports p JOIN networks n ON n.id = p.network JOIN boards b ON b.id = p.board `

func scanPort(s scanner) (Port, error) {
	var p Port
	var mac, gre sql.NullString
	var guards, boardStatus string
	var key uint32
	var created int64
	if err := s.Scan(&p.ID, &p.Network, &p.Project, &p.Board, &p.BoardID, &mac, &p.Interface, &guards, &gre, flag(&p.BoardUp), flag(&p.AgentUp),
		&p.BoardProblem, &p.AgentProblem, &p.Status, &created, &p.MTU, &key, &p.TunnelAgent, &p.Layer, &p.Encap, &boardStatus); err != nil {
		return p, err
	}
	p.MAC, p.Addresses, p.CreatedAt = mac.String, []string{}, fromMicros(created)
	p.BoardOnline = s4t.BoardStatus(boardStatus) == s4t.BoardOnline
	if gre.Valid {
		p.GRE = &s4t.PortGRE{Local: gre.String, Key: key}
	}
	if p.Problem = p.BoardProblem; p.Problem == "" {
		p.Problem = p.AgentProblem
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
		`INSERT INTO ports (id, network, project, board, mac, interface, guards, gre_local, board_up, agent_up, board_problem, agent_problem, status, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '', '', ?, ?)`,
		p.ID, p.Network, p.Project, p.BoardID, textOrNull(p.MAC), p.Interface, jsonText(p.Guards), textOrNull(gre), p.Status, micros(p.CreatedAt)); err != nil {
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

// UpdatePortState writes what was reported of a port: its halves, problems and
// status.
func (tx *Tx) UpdatePortState(p Port) error {
	_, err := tx.exec(fmt.Sprintf("update port %q", p.ID),
		`UPDATE ports SET board_up = ?, agent_up = ?, board_problem = ?, agent_problem = ?, status = ? WHERE id = ?`,
		bit(p.BoardUp), bit(p.AgentUp), p.BoardProblem, p.AgentProblem, p.Status, p.ID)
	return err
}

// DeletePort deletes a port; its addresses are free again.
func (tx *Tx) DeletePort(id s4t.PortID) error {
	_, err := tx.exec(fmt.Sprintf("delete port %q", id), `DELETE FROM ports WHERE id = ?`, id)
	return err
}

// Port returns a port.
func (tx *Tx) Port(id s4t.PortID) (Port, error) {
	ports, err := tx.ports(`p.id = ?`, id)
	if err == nil && len(ports) == 0 {
		return Port{}, s4t.Errorf(s4t.NotFound, fmt.Sprintf("find port %q", id), "", "it does not exist")
	}
	if err != nil {
		return Port{}, err
	}
	return ports[0], nil
}

// Ports returns the ports of a project; "" means every project.
func (tx *Tx) Ports(project s4t.ProjectID) ([]Port, error) {
	return tx.ports(`? = '' OR p.project = ?`, project, project)
}

// PortsOfNetwork returns the ports of a network in the order they were made.
func (tx *Tx) PortsOfNetwork(id s4t.NetworkID) ([]Port, error) { return tx.ports(`p.network = ?`, id) }

// PortsOfBoard returns the ports of a board.
func (tx *Tx) PortsOfBoard(id s4t.BoardID) ([]Port, error) { return tx.ports(`p.board = ?`, id) }

// PortsOfAgent returns the ports whose far end is on a tunnel agent.
func (tx *Tx) PortsOfAgent(id s4t.AgentID) ([]Port, error) { return tx.ports(`n.tunnel_agent = ?`, id) }

func (tx *Tx) ports(where string, args ...any) ([]Port, error) {
	ports, err := many(tx, "list ports", scanPort, portSelect+`WHERE `+where+` ORDER BY p.created_at, b.name, p.id`, args...)
	if err != nil || len(ports) == 0 {
		return ports, err
	}
	at := make(map[s4t.PortID]int, len(ports))
	for i, p := range ports {
		at[p.ID] = i
	}
	type taken struct {
		port    s4t.PortID
		address string
		bits    int
	}
	all, err := many(tx, "list addresses", func(s scanner) (t taken, err error) {
		err = s.Scan(&t.port, &t.address, &t.bits)
		return
	}, `SELECT a.port, a.address, a.bits FROM addresses a JOIN ports p ON p.id = a.port JOIN networks n ON n.id = p.network WHERE `+where+` ORDER BY a.port, a.place`, args...)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if i, ok := at[t.port]; ok {
			ports[i].Addresses = append(ports[i].Addresses, fmt.Sprintf("%s/%d", t.address, t.bits))
		}
	}
	return ports, nil
}

// PortState is how far a port is.
type PortState struct {
	ID             s4t.PortID
	Board          string // its name
	BoardID        s4t.BoardID
	BoardOnline    bool
	BoardUp        bool
	AgentUp        bool
	Status         s4t.PortStatus
	BoardProblem   string
	AgentProblem   string
	BoardInfo      string // JSON of s4t.BoardInfo
	BoardHasLatest bool   // the board has applied its desired state
	BridgeTo       string // interface of the board that the port bridges
}

// PortStates returns how far the ports of a network are, without what it takes
// to show them.
func (tx *Tx) PortStates(id s4t.NetworkID) ([]PortState, error) {
	return many(tx, "list the states of ports", func(s scanner) (p PortState, err error) {
		var board s4t.BoardStatus
		var applied, generation int64
		var text string
		if err = s.Scan(&p.ID, &p.Board, &p.BoardID, &board, flag(&p.BoardUp), flag(&p.AgentUp), &p.Status, &p.BoardProblem, &p.AgentProblem, &p.BoardInfo, &applied, &generation, &text); err != nil {
			return
		}
		p.BoardOnline, p.BoardHasLatest = board == s4t.BoardOnline, applied >= generation
		var guards s4t.PortGuards
		err = fromJSON(text, &guards)
		p.BridgeTo = guards.BridgeTo
		return
	}, `SELECT p.id, b.name, b.id, b.status, p.board_up, p.agent_up, p.status, p.board_problem, p.agent_problem, b.info, b.applied, b.generation, p.guards
		FROM ports p JOIN boards b ON b.id = p.board WHERE p.network = ? ORDER BY b.name`, id)
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
