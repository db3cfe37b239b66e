package store

import (
	"encoding/base64"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// PluginVersion is a version of a plugin: a bundle that somebody signed, and what
// its manifest says.
type PluginVersion struct {
	s4t.PluginVersion
	Plugin    s4t.PluginID
	Bundle    string // its id
	Signature []byte
	Runtime   s4t.Runtime
	Kind      s4t.PluginKind
	API       s4t.Role // that it asks for; empty: none
	Commands  []s4t.Command
}

func scanPlugin(s scanner) (p s4t.Plugin, err error) {
	var created int64
	err = s.Scan(&p.ID, &p.Project, &p.Name, &created)
	p.CreatedAt, p.Versions = fromMicros(created), []s4t.PluginVersion{}
	return p, err
}

const selectPlugins = `SELECT p.id, p.project, p.name, p.created_at FROM plugins p `

// InsertPlugin adds a plugin, which has no version yet. A name that the project
// has is a Conflict on plugins.name.
func (tx *Tx) InsertPlugin(p s4t.Plugin) error {
	_, err := tx.exec(fmt.Sprintf("create plugin %q", p.Name), `INSERT INTO plugins (id, project, name, created_at) VALUES (?, ?, ?, ?)`, p.ID, p.Project, p.Name, micros(p.CreatedAt))
	return err
}

// Plugin returns a plugin with its versions.
func (tx *Tx) Plugin(id s4t.PluginID) (s4t.Plugin, error) {
	return tx.filledPlugin(one(tx, fmt.Sprintf("find plugin %q", id), scanPlugin, selectPlugins+`WHERE p.id = ?`, id))
}

// LockPlugin returns it and holds it until the transaction ends.
func (tx *Tx) LockPlugin(id s4t.PluginID) (s4t.Plugin, error) {
	return tx.filledPlugin(one(tx, fmt.Sprintf("find plugin %q", id), scanPlugin, selectPlugins+`WHERE p.id = ?`+tx.forUpdate(), id))
}

func (tx *Tx) filledPlugin(p s4t.Plugin, err error) (s4t.Plugin, error) {
	if err != nil {
		return p, err
	}
	all := []s4t.Plugin{p}
	err = tx.fillPlugins(all)
	return all[0], err
}

// PluginsNamed returns the plugins with a name: of a project, or with "" of every
// one.
func (tx *Tx) PluginsNamed(project s4t.ProjectID, name string) ([]s4t.Plugin, error) {
	where, args := named("p", project, name)
	all, err := many(tx, fmt.Sprintf("find plugin %q", name), scanPlugin, selectPlugins+where, args...)
	if err != nil {
		return nil, err
	}
	return all, tx.fillPlugins(all)
}

// Plugins returns a page of the plugins of a project by name; "" means every
// project.
func (tx *Tx) Plugins(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Plugin], error) {
	list, err := page(tx, "list plugins", p, order[s4t.Plugin]{"p.name, p.id", func(p s4t.Plugin) []any { return []any{p.Name, string(p.ID)} }},
		scanPlugin, selectPlugins, equal(filter{}, "p.project", project))
	if err != nil {
		return list, err
	}
	return list, tx.fillPlugins(list.Items)
}

// fillPlugins reads the versions of plugins, newest first, and on how many boards
// they are.
func (tx *Tx) fillPlugins(all []s4t.Plugin) error {
	at, ids := index(all, func(p s4t.Plugin) s4t.PluginID { return p.ID })
	versions, err := manyIn(tx, "list the versions of plugins", func(s scanner) (v PluginVersion, err error) {
		var created int64
		err = s.Scan(&v.Plugin, &v.Version, &v.Digest, &v.Size, &v.Key, &v.Runtime, &v.Kind, &created)
		v.CreatedAt = fromMicros(created)
		return v, err
	}, `SELECT v.plugin, v.version, b.digest, b.size, v.signer, v.runtime, v.kind, v.created_at FROM plugin_versions v JOIN bundles b ON b.id = v.bundle WHERE v.plugin IN `,
		nil, ids, ` ORDER BY v.plugin, v.created_at DESC, v.version DESC`)
	if err != nil {
		return err
	}
	for _, v := range versions {
		p := &all[at[v.Plugin]]
		if len(p.Versions) == 0 {
			p.Version, p.Runtime, p.Kind = v.Version, v.Runtime, v.Kind
		}
		p.Versions = append(p.Versions, v.PluginVersion)
	}
	type counted struct {
		plugin s4t.PluginID
		boards int
	}
	counts, err := manyIn(tx, "count the boards of plugins", func(s scanner) (c counted, err error) {
		err = s.Scan(&c.plugin, &c.boards)
		return c, err
	}, `SELECT plugin, COUNT(*) FROM board_plugins WHERE plugin IN `, nil, ids, ` GROUP BY plugin`)
	for _, c := range counts {
		all[at[c.plugin]].Boards = c.boards
	}
	return err
}

// InsertPluginVersion adds a version to a plugin. One that is there is a Conflict
// on plugin_versions.version; a bundle that has gone one for which [IsInUse] is
// true.
func (tx *Tx) InsertPluginVersion(v PluginVersion) error {
	commands := ""
	if len(v.Commands) > 0 {
		commands = jsonText(v.Commands)
	}
	op := fmt.Sprintf("create version %q of plugin %q", v.Version, v.Plugin)
	if _, err := tx.exec(op, `UPDATE bundles SET idle_since = 0 WHERE id = ?`, v.Bundle); err != nil {
		return err
	}
	_, err := tx.exec(op,
		`INSERT INTO plugin_versions (plugin, version, bundle, signer, signature, runtime, kind, api, commands, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		v.Plugin, v.Version, v.Bundle, v.Key, base64.StdEncoding.EncodeToString(v.Signature), v.Runtime, v.Kind, v.API, commands, micros(v.CreatedAt))
	return err
}

// PluginVersion returns one version of a plugin.
func (tx *Tx) PluginVersion(plugin s4t.PluginID, version string) (PluginVersion, error) {
	return one(tx, fmt.Sprintf("find version %q of plugin %q", version, plugin), func(s scanner) (v PluginVersion, err error) {
		var created int64
		var signature, commands string
		if err = s.Scan(&v.Plugin, &v.Version, &v.Bundle, &v.Digest, &v.Size, &v.Key, &signature, &v.Runtime, &v.Kind, &v.API, &commands, &created); err != nil {
			return v, err
		}
		v.CreatedAt = fromMicros(created)
		if v.Signature, err = base64.StdEncoding.DecodeString(signature); err != nil {
			return v, err
		}
		return v, fromJSON(commands, &v.Commands)
	}, `SELECT v.plugin, v.version, v.bundle, b.digest, b.size, v.signer, v.signature, v.runtime, v.kind, v.api, v.commands, v.created_at
		FROM plugin_versions v JOIN bundles b ON b.id = v.bundle WHERE v.plugin = ? AND v.version = ?`, plugin, version)
}

// DeletePluginVersion deletes a version, and its bundle where no other has it. One
// that a board has is a Conflict for which [IsInUse] is true.
func (tx *Tx) DeletePluginVersion(v PluginVersion) error {
	if _, err := tx.exec(fmt.Sprintf("delete version %q of plugin %q", v.Version, v.Plugin), `DELETE FROM plugin_versions WHERE plugin = ? AND version = ?`, v.Plugin, v.Version); err != nil {
		return err
	}
	return tx.DeleteBundle(v.Bundle)
}

// DeletePlugin deletes a plugin with all its versions. One that a board has is a
// Conflict for which [IsInUse] is true.
func (tx *Tx) DeletePlugin(id s4t.PluginID) error {
	op := fmt.Sprintf("delete plugin %q", id)
	bundles, err := many(tx, op, value[string], `SELECT DISTINCT bundle FROM plugin_versions WHERE plugin = ?`, id)
	if err == nil {
		_, err = tx.exec(op, `DELETE FROM plugins WHERE id = ?`, id)
	}
	for _, b := range bundles {
		if err != nil {
			return err
		}
		err = tx.DeleteBundle(b)
	}
	return err
}

// BoardsOfPlugin returns the names of at most limit boards that have a plugin, in
// a version where one is named.
func (tx *Tx) BoardsOfPlugin(plugin s4t.PluginID, version string, limit int) ([]string, error) {
	f := equal(equal(filter{}, "o.plugin", plugin), "o.version", version)
	return many(tx, fmt.Sprintf("list the boards that have plugin %q", plugin), value[string],
		`SELECT b.name FROM board_plugins o JOIN boards b ON b.id = o.board`+f.where()+` ORDER BY b.name LIMIT ?`, append(f.args, limit)...)
}
