package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

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

// Bridge returns the bridge with this id.
func (tx *Tx) Bridge(id s4t.BridgeID) (Bridge, error) {
	return one(tx, fmt.Sprintf("find bridge %q", id), scanBridge, `SELECT `+bridgeColumns+` FROM bridges WHERE id = ?`, id)
}

// BridgesNamed returns the bridges with a name: of a project, or with "" of
// every one.
func (tx *Tx) BridgesNamed(project s4t.ProjectID, name string) ([]Bridge, error) {
	where, args := named("bridges", project, name)
	return many(tx, fmt.Sprintf("find bridge %q", name), scanBridge, `SELECT `+bridgeColumns+` FROM bridges `+where, args...)
}

// Bridges returns a page of the bridges of a project by name; "" means every
// project.
func (tx *Tx) Bridges(project s4t.ProjectID, p wire.Page) (wire.List[Bridge], error) {
	return page(tx, "list bridges", p, order[Bridge]{"name, id", func(b Bridge) []any { return []any{b.Name, string(b.ID)} }},
		scanBridge, `SELECT `+bridgeColumns+` FROM bridges`, equal(filter{}, "project", project))
}

// BridgeOfNetwork returns the bridge that a network belongs to, and holds it
// until the transaction ends.
func (tx *Tx) BridgeOfNetwork(id s4t.NetworkID) (Bridge, error) {
	return one(tx, fmt.Sprintf("find the bridge of network %q", id), scanBridge, `SELECT `+bridgeColumns+` FROM bridges WHERE network = ?`+tx.forUpdate(), id)
}

// SetBridgeStatus records the status that was told last.
func (tx *Tx) SetBridgeStatus(id s4t.BridgeID, status s4t.BridgeStatus) error {
	_, err := tx.exec(fmt.Sprintf("update bridge %q", id), `UPDATE bridges SET status = ? WHERE id = ?`, status, id)
	return err
}
