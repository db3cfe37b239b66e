package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Endpoint is a GRE endpoint of the data centre with where it is. Its Status
// follows from AgentUp.
type Endpoint struct {
	s4t.GREEndpoint
	Network   s4t.NetworkID
	Agent     s4t.AgentID
	CreatedAt time.Time
}

const endpointColumns = `id, network, agent, remote, local, gre_key, guards, agent_up, problem, created_at`

func scanEndpoint(s scanner) (Endpoint, error) {
	var e Endpoint
	var guards string
	var up bool
	var created, key int64
	if err := s.Scan(&e.ID, &e.Network, &e.Agent, &e.Remote, &e.Local, &key, &guards, flag(&up), &e.Problem, &created); err != nil {
		return e, err
	}
	e.Key, e.CreatedAt, e.Status = uint32(key), fromMicros(created), s4t.PortDown
	if up {
		e.Status = s4t.PortUp
	}
	return e, fromJSON(guards, &e.Guards)
}

// InsertEndpoint adds an endpoint, down. A remote that is attached under this
// key at the same tunnel agent is a Conflict on gre_endpoints.gre_key.
func (tx *Tx) InsertEndpoint(e Endpoint) error {
	_, err := tx.exec(fmt.Sprintf("attach GRE endpoint %s", e.Remote),
		`INSERT INTO gre_endpoints (`+endpointColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', ?)`,
		e.ID, e.Network, e.Agent, e.Remote, e.Local, int64(e.Key), jsonText(e.Guards), micros(e.CreatedAt))
	return err
}

// UpdateEndpointState writes what was reported of an endpoint.
func (tx *Tx) UpdateEndpointState(e Endpoint) error {
	_, err := tx.exec(fmt.Sprintf("update GRE endpoint %q", e.ID), `UPDATE gre_endpoints SET agent_up = ?, problem = ? WHERE id = ?`,
		bit(e.Status == s4t.PortUp), e.Problem, e.ID)
	return err
}

// DeleteEndpoint deletes an endpoint.
func (tx *Tx) DeleteEndpoint(id s4t.EndpointID) error {
	_, err := tx.exec(fmt.Sprintf("detach GRE endpoint %q", id), `DELETE FROM gre_endpoints WHERE id = ?`, id)
	return err
}

// EndpointsOfNetwork returns the endpoints of a network.
func (tx *Tx) EndpointsOfNetwork(id s4t.NetworkID) ([]Endpoint, error) {
	return tx.endpoints(`network = ?`, id)
}

// EndpointsOfAgent returns the endpoints at a tunnel agent.
func (tx *Tx) EndpointsOfAgent(id s4t.AgentID) ([]Endpoint, error) {
	return tx.endpoints(`agent = ?`, id)
}

// Endpoints returns the endpoints of all networks of a project; "" means every
// project.
func (tx *Tx) Endpoints(project s4t.ProjectID) ([]Endpoint, error) {
	return tx.endpoints(`network IN (SELECT id FROM networks WHERE ? = '' OR project = ?)`, project, project)
}

func (tx *Tx) endpoints(where string, args ...any) ([]Endpoint, error) {
	return many(tx, "list GRE endpoints", scanEndpoint, `SELECT `+endpointColumns+` FROM gre_endpoints WHERE `+where+` ORDER BY network, remote, gre_key`, args...)
}
