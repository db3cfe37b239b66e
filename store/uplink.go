package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Uplink is an uplink with its network.
type Uplink struct {
	s4t.Uplink
	Network   s4t.NetworkID
	Project   s4t.ProjectID // of the network
	Name      string        // of the network
	Agent     s4t.AgentID   // tunnel agent of the network
	CreatedAt time.Time
}

var uplinkSelect = `SELECT u.network, n.project, n.name, u.agent, u.bridge, u.guards, u.created_at, ` + agentSays + `
	FROM uplinks u JOIN networks n ON n.id = u.network ` + atAgent(wire.KindUplink, "u.network", "u.agent")

func scanUplink(s scanner) (Uplink, error) {
	var u Uplink
	var guards string
	var up, wasUp bool
	var created int64
	if err := s.Scan(&u.Network, &u.Project, &u.Name, &u.Agent, &u.Bridge, &guards, &created, flag(&up), flag(&wasUp), &u.Problem); err != nil {
		return u, err
	}
	u.Status, u.CreatedAt = standing(up, wasUp), fromMicros(created)
	return u, fromJSON(guards, &u.Guards)
}

// PutUplink adds the uplink of a network, in place of the one it has. A bridge
// that another network of the agent is in is a Conflict on uplinks.bridge.
func (tx *Tx) PutUplink(u Uplink) error {
	if err := tx.DeleteUplink(u.Network); err != nil {
		return err
	}
	_, err := tx.exec(fmt.Sprintf("put a network into bridge %q", u.Bridge),
		`INSERT INTO uplinks (network, agent, bridge, guards, created_at) VALUES (?, ?, ?, ?, ?)`,
		u.Network, u.Agent, u.Bridge, jsonText(u.Guards), micros(u.CreatedAt))
	return err
}

// DeleteUplink deletes the uplink of a network, if it has one.
func (tx *Tx) DeleteUplink(id s4t.NetworkID) error {
	_, err := tx.exec(fmt.Sprintf("delete the uplink of network %q", id), `DELETE FROM uplinks WHERE network = ?`, id)
	return err
}

// Uplink returns the uplink of a network.
func (tx *Tx) Uplink(id s4t.NetworkID) (Uplink, error) {
	return one(tx, fmt.Sprintf("find the uplink of network %q", id), scanUplink, uplinkSelect+`WHERE u.network = ?`, id)
}

// Uplinks returns the uplinks of the networks of a project; "" means every
// project. They are an operator's, and few.
func (tx *Tx) Uplinks(project s4t.ProjectID) ([]Uplink, error) {
	if project == "" {
		return many(tx, "list uplinks", scanUplink, uplinkSelect+`ORDER BY u.network`)
	}
	return many(tx, "list uplinks", scanUplink, uplinkSelect+`WHERE n.project = ? ORDER BY u.network`, project)
}
