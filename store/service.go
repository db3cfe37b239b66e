package store

import (
	"fmt"
	"net/netip"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Service is an exposed service with where it is.
type Service struct {
	s4t.Service
	Agent       s4t.AgentID // where its public port is
	BoardStatus s4t.BoardStatus
	Lease       s4t.LeaseID // that made it; empty: none
}

var serviceSelect = `SELECT s.id, s.project, b.name, s.board, s.name, s.tcp_port, s.target, a.host, s.public_port, s.dns_name, s.created_at, s.agent, s.lease, h.status, COALESCE(rb.problem_id, ''), ` + boardSays + `, ` + agentSays + `
	FROM services s JOIN boards b ON b.id = s.board JOIN agents a ON a.id = s.agent JOIN presence h ON h.board = s.board ` + onBoard(wire.KindService, "s.id", "s.board") + atAgent(wire.KindService, "s.id", "s.agent")

func scanService(s scanner) (Service, error) {
	var v Service
	var created int64
	var boardUp, agentUp, wasUp bool
	var boardProblemID, boardProblem string
	err := s.Scan(&v.ID, &v.Project, &v.Board, &v.BoardID, &v.Name, &v.TCPPort, &v.Target, &v.Host, &v.PublicPort, &v.DNSName, &created, &v.Agent, &v.Lease, &v.BoardStatus, &boardProblemID,
		flag(&boardUp), &boardProblem, flag(&agentUp), flag(&wasUp), &v.Problem)
	v.Status, v.CreatedAt = s4t.ServicePending, fromMicros(created)
	if boardUp && agentUp {
		v.Status = s4t.ServiceUp
	}
	if boardUp {
		v.TargetStatus = targetStatus(v.Target, boardProblemID)
	}
	if v.Problem == "" {
		v.Problem = boardProblem
	}
	return v, err
}

// targetStatus is what a board that is ready for streams says of where they go:
// what listens on the board itself it knows, another host as the last stream
// found it.
func targetStatus(target, problemID string) string {
	if problemID == wire.TargetRefused {
		return s4t.TargetRefused
	}
	if ip, err := netip.ParseAddr(target); err == nil && ip.IsLoopback() {
		return s4t.TargetListening
	}
	return ""
}

// InsertService adds a service. A target that the board exposes already is a
// Conflict on services.target, a public port that is taken on that agent one
// on services.public_port, a DNS name that another has one on services.dns_name.
func (tx *Tx) InsertService(s Service) error {
	_, err := tx.exec(fmt.Sprintf("expose service %q of board %q", s.Name, s.Board),
		`INSERT INTO services (id, project, board, name, tcp_port, target, agent, public_port, dns_name, created_at, lease) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		s.ID, s.Project, s.BoardID, s.Name, s.TCPPort, s.Target, s.Agent, s.PublicPort, s.DNSName, micros(s.CreatedAt), s.Lease)
	return err
}

// MoveService gives a service another public port, or another agent. One that is taken on that
// agent is a Conflict on services.public_port.
func (tx *Tx) MoveService(s Service) error {
	_, err := tx.exec(fmt.Sprintf("expose service %q of board %q", s.Name, s.Board), `UPDATE services SET agent = ?, public_port = ? WHERE id = ?`, s.Agent, s.PublicPort, s.ID)
	return err
}

// NameService gives a service a name in the cloud's DNS zone; empty: it has none. One that
// another has is a Conflict on services.dns_name.
func (tx *Tx) NameService(id s4t.ServiceID, name string) error {
	_, err := tx.exec(fmt.Sprintf("name service %q", id), `UPDATE services SET dns_name = ? WHERE id = ?`, name, id)
	return err
}

// ServiceNamed returns where the service is that has a name in the cloud's DNS zone.
func (tx *Tx) ServiceNamed(name string) (wire.ServicePlace, error) {
	return one(tx, fmt.Sprintf("look up the name %q", name), func(s scanner) (p wire.ServicePlace, err error) {
		return p, s.Scan(&p.Host, &p.PublicPort)
	}, `SELECT a.host, s.public_port FROM services s JOIN agents a ON a.id = s.agent WHERE s.dns_name = ? AND s.dns_name <> ''`, name) // what the index has
}

// ServicesOfLease returns the services that a lease exposed.
func (tx *Tx) ServicesOfLease(id s4t.LeaseID) ([]Service, error) {
	return many(tx, fmt.Sprintf("list the services of lease %q", id), scanService, serviceSelect+`WHERE s.lease = ? AND s.lease <> '' ORDER BY s.id`, id)
}

// DeleteService deletes a service; its public port and its name are free again.
func (tx *Tx) DeleteService(id s4t.ServiceID) error {
	_, err := tx.exec(fmt.Sprintf("hide service %q", id), `DELETE FROM services WHERE id = ?`, id)
	return err
}

// Service returns a service.
func (tx *Tx) Service(id s4t.ServiceID) (Service, error) {
	return one(tx, fmt.Sprintf("find service %q", id), scanService, serviceSelect+`WHERE s.id = ?`, id)
}

// Services returns a page of the services of a project, in the order they were
// made; "" means every project. With a board it is of that one only.
func (tx *Tx) Services(project s4t.ProjectID, board s4t.BoardID, p wire.Page) (wire.List[Service], error) {
	return page(tx, "list services", p, order[Service]{"s.created_at, s.id", func(s Service) []any { return []any{micros(s.CreatedAt), string(s.ID)} }},
		scanService, serviceSelect, equal(equal(filter{}, "s.project", project), "s.board", board))
}

// ServicesOfBoard returns the services of a board.
func (tx *Tx) ServicesOfBoard(id s4t.BoardID) ([]Service, error) {
	return many(tx, "list services", scanService, serviceSelect+`WHERE s.board = ? ORDER BY s.tcp_port, s.target`, id)
}

// TakenPublicPorts returns the public ports of an agent that are reserved.
func (tx *Tx) TakenPublicPorts(agent s4t.AgentID) (map[int]bool, error) {
	ports, err := many(tx, "list public ports", value[int], `SELECT public_port FROM services WHERE agent = ?`, agent)
	if err != nil {
		return nil, err
	}
	taken := make(map[int]bool, len(ports))
	for _, p := range ports {
		taken[p] = true
	}
	return taken, nil
}
