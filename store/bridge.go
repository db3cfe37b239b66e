package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Step 3 of the paper's Fig. 3: the row of the bridge that the conductor makes.

// Bridge is the row of a bridge: its network and ports are rows of their own.
type Bridge struct {
	ID        s4t.BridgeID
	Project   s4t.ProjectID
	Name      string
	Network   s4t.NetworkID
	Status    s4t.BridgeStatus // as it was told last
	CreatedAt time.Time
}

const bridgeColumns = `id, project, name, network, status, created_at`

func scanBridge(s scanner) (Bridge, error) {
	var b Bridge
	var created int64
	err := s.Scan(&b.ID, &b.Project, &b.Name, &b.Network, &b.Status, &created)
	b.CreatedAt = fromMicros(created)
	return b, err
}

// InsertBridge adds a bridge. A name that the project has is a Conflict on
// bridges.name.
func (tx *Tx) InsertBridge(b Bridge) error {
	_, err := tx.exec(fmt.Sprintf("create bridge %q", b.Name),
		`INSERT INTO bridges (`+bridgeColumns+`) VALUES (?, ?, ?, ?, ?, ?)`, b.ID, b.Project, b.Name, b.Network, b.Status, micros(b.CreatedAt))
	return err
}

// FindBridges returns the bridges with this name or id, in all projects.
func (tx *Tx) FindBridges(ref string) ([]Bridge, error) {
	return many(tx, fmt.Sprintf("find bridge %q", ref), scanBridge, `SELECT `+bridgeColumns+` FROM bridges WHERE id = ? OR name = ? ORDER BY project`, ref, ref)
}

// Bridges returns the bridges of a project by name; "" means every project.
func (tx *Tx) Bridges(project s4t.ProjectID) ([]Bridge, error) {
	return many(tx, "list bridges", scanBridge, `SELECT `+bridgeColumns+` FROM bridges WHERE ? = '' OR project = ? ORDER BY name, project`, project, project)
}

// BridgeOfNetwork returns the bridge that a network belongs to.
func (tx *Tx) BridgeOfNetwork(id s4t.NetworkID) (Bridge, error) {
	return one(tx, fmt.Sprintf("find the bridge of network %q", id), scanBridge, `SELECT `+bridgeColumns+` FROM bridges WHERE network = ?`, id)
}

// SetBridgeStatus records the status that was told last.
func (tx *Tx) SetBridgeStatus(id s4t.BridgeID, status s4t.BridgeStatus) error {
	_, err := tx.exec(fmt.Sprintf("update bridge %q", id), `UPDATE bridges SET status = ? WHERE id = ?`, status, id)
	return err
}
