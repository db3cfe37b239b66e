package store

import (
	"fmt"

	"github.com/stack4things/s4t"
)

// Service is an exposed service with where it is.
type Service struct {
	s4t.Service
	Agent     s4t.AgentID // where its public port is
	AgentUp   bool        // the public port listens
	StreamsUp bool        // the board is online and has an idle data rtunnel there
}

const serviceSelect = `SELECT s.id, s.project, b.name, s.board, s.name, s.tcp_port, s.target, a.host, s.public_port, s.status, s.problem, s.created_at,
		s.agent, s.agent_up, CASE WHEN b.status = 'online' THEN b.streams_up ELSE 0 END
	FROM services s JOIN boards b ON b.id = s.board JOIN agents a ON a.id = s.agent `

func scanService(s scanner) (Service, error) {
	var v Service
	var created int64
	err := s.Scan(&v.ID, &v.Project, &v.Board, &v.BoardID, &v.Name, &v.TCPPort, &v.Target, &v.Host, &v.PublicPort, &v.Status, &v.Problem, &created,
		&v.Agent, flag(&v.AgentUp), flag(&v.StreamsUp))
	v.CreatedAt = fromMicros(created)
	return v, err
}

// InsertService adds a service. A target that the board exposes already is a
// Conflict on services.target, a public port that is taken on that agent one
// on services.public_port.
func (tx *Tx) InsertService(s Service) error {
	_, err := tx.exec(fmt.Sprintf("expose service %q of board %q", s.Name, s.Board),
		`INSERT INTO services (id, project, board, name, tcp_port, target, agent, public_port, agent_up, problem, status, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?, ?)`,
		s.ID, s.Project, s.BoardID, s.Name, s.TCPPort, s.Target, s.Agent, s.PublicPort, s.Status, micros(s.CreatedAt))
	return err
}

// UpdateServiceState writes what was reported of a service.
func (tx *Tx) UpdateServiceState(s Service) error {
	_, err := tx.exec(fmt.Sprintf("update service %q", s.ID), `UPDATE services SET agent_up = ?, problem = ?, status = ? WHERE id = ?`,
		bit(s.AgentUp), s.Problem, s.Status, s.ID)
	return err
}

// DeleteService deletes a service; its public port is free again.
func (tx *Tx) DeleteService(id s4t.ServiceID) error {
	_, err := tx.exec(fmt.Sprintf("hide service %q", id), `DELETE FROM services WHERE id = ?`, id)
	return err
}

// Service returns a service.
func (tx *Tx) Service(id s4t.ServiceID) (Service, error) {
	return one(tx, fmt.Sprintf("find service %q", id), scanService, serviceSelect+`WHERE s.id = ?`, id)
}

// Services returns the services of a project by board; "" means every project.
func (tx *Tx) Services(project s4t.ProjectID) ([]Service, error) {
	return tx.services(`? = '' OR s.project = ?`, project, project)
}

// ServicesOfBoard returns the services of a board.
func (tx *Tx) ServicesOfBoard(id s4t.BoardID) ([]Service, error) {
	return tx.services(`s.board = ?`, id)
}

// ServicesOfAgent returns the services whose public port is on a tunnel agent.
func (tx *Tx) ServicesOfAgent(id s4t.AgentID) ([]Service, error) {
	return tx.services(`s.agent = ?`, id)
}

func (tx *Tx) services(where string, args ...any) ([]Service, error) {
	return many(tx, "list services", scanService, serviceSelect+`WHERE `+where+` ORDER BY b.name, s.tcp_port, s.target`, args...)
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
