package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Endpoint is a GRE endpoint of the data centre with where it is.
type Endpoint struct {
	s4t.GREEndpoint
	Network   s4t.NetworkID
	Agent     s4t.AgentID
	CreatedAt time.Time
}

var endpointSelect = `SELECT e.id, e.network, e.agent, e.remote, e.local, e.gre_key, e.guards, e.created_at, ` + agentSays + ` FROM gre_endpoints e ` + atAgent(wire.KindGRE, "e.id", "e.agent")

func scanEndpoint(s scanner) (Endpoint, error) {
	var e Endpoint
	var guards string
	var up, wasUp bool
	var created, key int64
	if err := s.Scan(&e.ID, &e.Network, &e.Agent, &e.Remote, &e.Local, &key, &guards, &created, flag(&up), flag(&wasUp), &e.Problem); err != nil {
		return e, err
	}
	e.Key, e.CreatedAt, e.Status = uint32(key), fromMicros(created), s4t.PortDown
	if up {
		e.Status = s4t.PortUp
	}
	return e, fromJSON(guards, &e.Guards)
}

// InsertEndpoint adds an endpoint. A remote that is attached under this
// key at the same tunnel agent is a Conflict on gre_endpoints.gre_key.
func (tx *Tx) InsertEndpoint(e Endpoint) error {
	_, err := tx.exec(fmt.Sprintf("attach GRE endpoint %s", e.Remote),
		`INSERT INTO gre_endpoints (id, network, agent, remote, local, gre_key, guards, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, e.Network, e.Agent, e.Remote, e.Local, int64(e.Key), jsonText(e.Guards), micros(e.CreatedAt))
	return err
}

// DeleteEndpoint deletes an endpoint.
func (tx *Tx) DeleteEndpoint(id s4t.EndpointID) error {
	_, err := tx.exec(fmt.Sprintf("detach GRE endpoint %q", id), `DELETE FROM gre_endpoints WHERE id = ?`, id)
	return err
}

// Endpoint returns an endpoint.
func (tx *Tx) Endpoint(id s4t.EndpointID) (Endpoint, error) {
	return one(tx, fmt.Sprintf("find GRE endpoint %q", id), scanEndpoint, endpointSelect+`WHERE e.id = ?`, id)
}
