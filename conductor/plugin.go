package conductor

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/schema"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// findPlugin returns the plugin that ref, a name or an id, means for the caller.
func findPlugin(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Plugin, error) {
	return find(tx, caller, op, "plugin", ref, func(id string) (s4t.Plugin, error) { return tx.Plugin(s4t.PluginID(id)) }, tx.PluginsNamed,
		func(p s4t.Plugin) string { return string(p.ID) }, func(p s4t.Plugin) s4t.ProjectID { return p.Project })
}

// pluginCreate makes a version of a plugin of a bundle that was put, and the plugin
// where it is the first. The same again changes nothing.
func (c *Conductor) pluginCreate(ctx context.Context, req wire.PluginCreate) (s4t.Plugin, error) {
	op := fmt.Sprintf("create plugin %q", s4t.Line(req.Name, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleMember); err != nil {
		return s4t.Plugin{}, err
	}
	if err := s4t.ValidName("plugin", req.Name); err != nil {
		return s4t.Plugin{}, err
	}
	if err := validDigest(op, req.Digest); err != nil {
		return s4t.Plugin{}, err
	}
	if !bundle.Verify(req.Key, req.Digest, req.Signature) {
		return s4t.Plugin{}, s4t.Errorf(s4t.Invalid, op, "sign the digest of this bundle with the key that is given", "the signature is not of this bundle by this key")
	}
	leave, err := c.bundleReads.enter(op, req.Caller.Project)
	if err != nil {
		return s4t.Plugin{}, err
	}
	defer leave()
	b, err := view(ctx, c, func(tx *store.Tx) (store.Bundle, error) { return tx.BundleOf(req.Caller.Project, req.Digest) })
	gone := s4t.Errorf(s4t.NotFound, op, "put it first", "bundle %.12s is not there, or not all of it", req.Digest)
	if s4t.KindOf(err) == s4t.NotFound || err == nil && !b.Complete() {
		return s4t.Plugin{}, gone
	}
	if err != nil {
		return s4t.Plugin{}, err
	}
	m, err := readManifest(op, &bundleReader{ctx: ctx, c: c, bundle: b})
	if err != nil {
		return s4t.Plugin{}, err
	}
	v := store.PluginVersion{
		PluginVersion: s4t.PluginVersion{Version: m.Version, Digest: b.Digest, Size: b.Size, Key: base64.StdEncoding.EncodeToString(req.Key)},
		Bundle:        b.ID, Signature: req.Signature, Runtime: m.Runtime, Kind: m.Kind, API: m.API, Commands: m.Commands,
	}
	var id s4t.PluginID
	err = c.request(ctx, req.Caller, "plugin.create", req.Name, func(ch *change, rec *s4t.AuditRecord) error {
		v.CreatedAt, rec.Detail = ch.now, "version "+v.Version
		p, err := ch.pluginFor(op, req.Caller.Project, req.Name)
		if err != nil {
			return err
		}
		id, v.Plugin, rec.Object = p.ID, p.ID, string(p.ID)
		if i := slices.IndexFunc(p.Versions, func(o s4t.PluginVersion) bool { return o.Version == v.Version }); i >= 0 {
			switch o := p.Versions[i]; {
			case o.Digest != v.Digest:
				return s4t.Errorf(s4t.Conflict, op, "raise the version in plugin.toml", "version %s is there with another content", v.Version)
			case o.Key != v.Key:
				return s4t.Errorf(s4t.Conflict, op, "raise the version in plugin.toml, or sign it with the same key", "version %s is there, signed with another key", v.Version)
			}
			return nil
		}
		if len(p.Versions) >= s4t.MaxVersions {
			return s4t.Errorf(s4t.TooMany, op, fmt.Sprintf("delete old ones: `s4t plugin delete %s --version V`", p.Name), "it has %d versions, which is the most", len(p.Versions))
		}
		if err := ch.InsertPluginVersion(v); store.IsInUse(err) {
			return gone
		} else if err != nil {
			return err
		}
		ch.event(s4t.Event{Kind: "plugin.created", Project: p.Project, Object: string(p.ID), Name: p.Name, Detail: "version " + v.Version})
		return nil
	})
	if err != nil {
		return s4t.Plugin{}, err
	}
	return c.pluginGet(ctx, wire.RefRequest{Caller: req.Caller, Ref: string(id)})
}

// pluginFor returns the plugin of a project with a name, and makes it where there
// is none; it is held.
func (ch *change) pluginFor(op string, project s4t.ProjectID, name string) (s4t.Plugin, error) {
	found, err := ch.PluginsNamed(project, name)
	if err != nil {
		return s4t.Plugin{}, err
	}
	if len(found) > 0 {
		return ch.LockPlugin(found[0].ID)
	}
	if err := ch.Claim(op, project, s4t.QuotaPlugins, 1); err != nil {
		return s4t.Plugin{}, err
	}
	p := s4t.Plugin{ID: s4t.PluginID(s4t.NewID()), Name: name, Project: project, CreatedAt: ch.now}
	return p, ch.InsertPlugin(p)
}

// readManifest reads the manifest of a bundle, and checks all of it: what a board
// would refuse is refused here.
func readManifest(op string, r *bundleReader) (bundle.Manifest, error) {
	m, err := bundle.Read(r)
	if err != nil {
		return m, err
	}
	for _, cmd := range m.Commands {
		for what, text := range map[string][]byte{"params": cmd.Params, "result": cmd.Result} {
			if len(text) == 0 {
				continue
			}
			if _, err := schema.Compile(text); err != nil {
				return m, s4t.Errorf(s4t.Invalid, op, "correct it in plugin.toml", "the %s of command %s: %w", what, cmd.Name, err)
			}
		}
	}
	return m, nil
}

// pluginList returns the plugins that the caller sees, by name.
func (c *Conductor) pluginList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Plugin], error) {
	return list(ctx, c, req.Caller, "list plugins", req.Page, same[s4t.Plugin], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Plugin], error) {
		return tx.Plugins(scope(req.Caller), p)
	})
}

// pluginGet returns a plugin, with the commands of its newest version.
func (c *Conductor) pluginGet(ctx context.Context, req wire.RefRequest) (s4t.Plugin, error) {
	op := fmt.Sprintf("show plugin %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Plugin{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Plugin, error) {
		p, err := findPlugin(tx, req.Caller, op, req.Ref)
		if err != nil || len(p.Versions) == 0 {
			return p, err
		}
		v, err := tx.PluginVersion(p.ID, p.Version)
		p.Commands = v.Commands
		for i := range p.Commands {
			p.Commands[i].Source, p.Commands[i].Plugin = s4t.CommandOfPlugin, p.Name
		}
		return p, err
	})
}

// pluginDelete deletes a plugin that no board has, or one version of it. With its
// last version it goes itself.
func (c *Conductor) pluginDelete(ctx context.Context, req wire.PluginDelete) (wire.Empty, error) {
	op := fmt.Sprintf("delete plugin %q", req.Ref)
	if req.Version != "" {
		op = fmt.Sprintf("delete version %q of plugin %q", req.Version, req.Ref)
	}
	return wire.Empty{}, c.request(ctx, req.Caller, "plugin.delete", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		p, err := findPlugin(ch.Tx, req.Caller, op, req.Ref)
		if err == nil {
			p, err = ch.LockPlugin(p.ID)
		}
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = string(p.ID), p.Name, p.Project
		if req.Version != "" {
			rec.Detail = "version " + req.Version
			if !slices.ContainsFunc(p.Versions, func(v s4t.PluginVersion) bool { return v.Version == req.Version }) {
				return noVersion(op, p, req.Version)
			}
		}
		going, err := ch.RolloutsOf(p.ID, req.Version)
		if err != nil {
			return err
		}
		if len(going) > 0 {
			return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("`s4t rollout abort %s` first", going[0].ID), "a rollout of it to fleet %s has not ended", going[0].FleetName)
		}
		boards, err := ch.BoardsOfPlugin(p.ID, req.Version, maxCandidates+1)
		if err != nil {
			return err
		}
		if len(boards) > 0 {
			names := strings.Join(boards[:min(len(boards), maxCandidates)], ", ")
			if len(boards) > maxCandidates {
				names += " and others"
			}
			return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("`s4t plugin remove %s --board B` first, or upgrade there", p.Name), "boards have it: %s", names)
		}
		if req.Version == "" || len(p.Versions) == 1 {
			ch.event(s4t.Event{Kind: "plugin.deleted", Project: p.Project, Object: string(p.ID), Name: p.Name})
			return ch.DeletePlugin(p.ID)
		}
		v, err := ch.PluginVersion(p.ID, req.Version)
		if err != nil {
			return err
		}
		ch.event(s4t.Event{Kind: "plugin.deleted", Project: p.Project, Object: string(p.ID), Name: p.Name, Detail: "version " + v.Version})
		return ch.DeletePluginVersion(v)
	})
}

// noVersion is the error of a version that a plugin has not.
func noVersion(op string, p s4t.Plugin, version string) error {
	return s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t plugin show %s` lists them", p.Name), "plugin %s has no version %q", p.Name, s4t.Line(version, s4t.MaxName))
}
