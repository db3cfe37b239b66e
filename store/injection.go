package store

import (
	"encoding/base64"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Injection is a plugin on a board: as it is wanted, and what the board said of it
// last.
type Injection struct {
	s4t.BoardPlugin
	Start    int64    // grows with each start that somebody asked for
	Earlier  *Earlier // nil: the board never had another up
	Injector s4t.UserID
	Role     s4t.Role    // that the injector had then
	Lease    s4t.LeaseID // that put it there; empty: none

	// Of the version.
	Digest         string
	Size           int64
	Key, Signature []byte
	API            s4t.Role // that it asks for

	// Of the realization.
	Generation int64
	Up         bool
	ProblemID  string
}

// Earlier is what a board had up before, and goes back to.
type Earlier struct {
	Version string            `json:"version"`
	OnBoot  bool              `json:"onboot,omitempty"`
	Params  map[string]string `json:"params,omitempty"`
}

var selectInjections = `SELECT o.id, o.board, b.name, o.plugin, p.name, p.project, o.version, o.params, o.onboot, o.running, o.start, o.earlier, o.injector, o.role, o.lease, o.created_at,
		u.digest, u.size, v.signer, v.signature, v.api, COALESCE(rb.generation, 0), COALESCE(rb.problem_id, ''), ` + boardSays + `
	FROM board_plugins o JOIN boards b ON b.id = o.board JOIN plugins p ON p.id = o.plugin
		JOIN plugin_versions v ON v.plugin = o.plugin AND v.version = o.version JOIN bundles u ON u.id = v.bundle ` + onBoard(wire.KindPlugin, "o.id", "o.board")

func scanInjection(s scanner) (i Injection, err error) {
	var params, earlier, key, signature string
	var created int64
	var running bool
	if err = s.Scan(&i.ID, &i.BoardID, &i.Board, &i.PluginID, &i.Plugin, &i.Project, &i.Version, &params, flag(&i.OnBoot), flag(&running), &i.Start, &earlier, &i.Injector, &i.Role, &i.Lease, &created,
		&i.Digest, &i.Size, &key, &signature, &i.API, &i.Generation, &i.ProblemID, flag(&i.Up), &i.Problem); err != nil {
		return i, err
	}
	i.CreatedAt = fromMicros(created)
	i.SetWanted(running)
	switch {
	case i.Problem != "":
		i.State = s4t.PluginFailed
	case i.Up:
		i.State = i.Wanted
	default:
		i.State = s4t.PluginPending
	}
	if i.Key, err = base64.StdEncoding.DecodeString(key); err == nil {
		i.Signature, err = base64.StdEncoding.DecodeString(signature)
	}
	if err == nil {
		err = fromJSON(params, &i.Params)
	}
	if err == nil {
		err = fromJSON(earlier, &i.Earlier)
	}
	return i, err
}

// SetWanted says whether it should run.
func (i *Injection) SetWanted(running bool) {
	if i.Wanted = s4t.PluginStopped; running {
		i.Wanted = s4t.PluginRunning
	}
}

// ShouldRun reports whether it should.
func (i Injection) ShouldRun() bool { return i.Wanted == s4t.PluginRunning }

func (i Injection) texts() (params, earlier string) {
	if len(i.Params) > 0 {
		params = jsonText(i.Params)
	}
	if i.Earlier != nil {
		earlier = jsonText(i.Earlier)
	}
	return params, earlier
}

// InsertInjection puts a plugin on a board. One that is there is a Conflict on
// board_plugins.plugin; a version that has gone one for which [IsInUse] is true.
func (tx *Tx) InsertInjection(i Injection) error {
	params, earlier := i.texts()
	_, err := tx.exec(fmt.Sprintf("inject plugin %q into board %q", i.Plugin, i.Board),
		`INSERT INTO board_plugins (id, board, plugin, version, params, onboot, running, start, earlier, injector, role, lease, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		i.ID, i.BoardID, i.PluginID, i.Version, params, bit(i.OnBoot), bit(i.ShouldRun()), i.Start, earlier, i.Injector, i.Role, i.Lease, micros(i.CreatedAt))
	return err
}

// SetInjection writes how a plugin on a board is wanted.
func (tx *Tx) SetInjection(i Injection) error {
	params, earlier := i.texts()
	_, err := tx.exec(fmt.Sprintf("change plugin %q of board %q", i.Plugin, i.Board),
		`UPDATE board_plugins SET version = ?, params = ?, onboot = ?, running = ?, start = ?, earlier = ?, injector = ?, role = ? WHERE id = ?`,
		i.Version, params, bit(i.OnBoot), bit(i.ShouldRun()), i.Start, earlier, i.Injector, i.Role, i.ID)
	return err
}

// InjectionsOfLease returns the plugins that a lease put on boards.
func (tx *Tx) InjectionsOfLease(id s4t.LeaseID) ([]Injection, error) {
	return many(tx, fmt.Sprintf("list the plugins of lease %q", id), scanInjection, selectInjections+`WHERE o.lease = ? AND o.lease <> '' ORDER BY o.id`, id)
}

// DeleteInjection takes a plugin off a board, and ends its tokens.
func (tx *Tx) DeleteInjection(id string) error {
	_, err := tx.exec(fmt.Sprintf("remove plugin %q", id), `DELETE FROM board_plugins WHERE id = ?`, id)
	return err
}

// Injection returns a plugin on a board by its own id.
func (tx *Tx) Injection(id string) (Injection, error) {
	return one(tx, fmt.Sprintf("find plugin %q on its board", id), scanInjection, selectInjections+`WHERE o.id = ?`, id)
}

// InjectionsOf returns the plugins of a board, by name.
func (tx *Tx) InjectionsOf(board s4t.BoardID) ([]Injection, error) {
	return many(tx, fmt.Sprintf("list the plugins of board %q", board), scanInjection, selectInjections+`WHERE o.board = ? ORDER BY p.name`, board)
}
