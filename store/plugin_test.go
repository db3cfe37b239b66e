package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// testPlugin puts a plugin with a version into a project, and returns both.
func testPlugin(t *testing.T, db *DB, project s4t.ProjectID, name string) (s4t.Plugin, PluginVersion) {
	t.Helper()
	p := s4t.Plugin{ID: s4t.PluginID(s4t.NewID()), Name: name, Project: project, CreatedAt: at, Versions: []s4t.PluginVersion{}}
	b := Bundle{ID: s4t.NewID(), Project: project, Digest: "digest of " + name, Size: 5, Hash: "state"}
	v := PluginVersion{
		PluginVersion: s4t.PluginVersion{Version: "1", Digest: b.Digest, Size: b.Size, Key: "a2V5", CreatedAt: at},
		Plugin:        p.ID, Bundle: b.ID, Signature: []byte{1, 2}, Runtime: s4t.RuntimeExec, Kind: s4t.PluginCallable, API: s4t.RoleReader,
		Commands: []s4t.Command{{Name: "hello", Timeout: "30s", Params: json.RawMessage(`{"type":"object"}`)}},
	}
	write(t, db, func(tx *Tx) error {
		if err := tx.InsertPlugin(p); err != nil {
			return err
		}
		if err := tx.InsertBundle(b); err != nil {
			return err
		}
		b.Has, b.Hash = 5, ""
		if err := tx.PutBundlePart(b, 0, []byte("bytes")); err != nil {
			return err
		}
		return tx.InsertPluginVersion(v)
	})
	return p, v
}

func TestPluginsAndTheirVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		p, v := testPlugin(t, db, w.project.ID, "hello")
		v2 := v
		v2.Version, v2.CreatedAt = "2", at.Add(time.Second)
		write(t, db, func(tx *Tx) error { return tx.InsertPluginVersion(v2) })
		p.Version, p.Runtime, p.Kind = "2", v.Runtime, v.Kind
		p.Versions = []s4t.PluginVersion{v2.PluginVersion, v.PluginVersion}
		view(t, db, func(tx *Tx) error {
			got, err := tx.Plugin(p.ID)
			same(t, "plugin", got, err, p)
			for _, project := range []s4t.ProjectID{"", w.project.ID} {
				named, err := tx.PluginsNamed(project, "hello")
				same(t, "plugins named", named, err, []s4t.Plugin{p})
				list, err := tx.Plugins(project, wire.Page{})
				same(t, "plugins", list.Items, err, []s4t.Plugin{p})
			}
			version, err := tx.PluginVersion(p.ID, "1")
			same(t, "version", version, err, v)
			for key, want := range map[s4t.QuotaKey]int64{s4t.QuotaPlugins: 1, s4t.QuotaBundleBytes: 5} {
				q, err := tx.Quota(w.project.ID, key)
				same(t, string(key), q.Used, err, want)
			}
			return nil
		})
		fails(t, db, func(tx *Tx) error {
			return tx.InsertPlugin(s4t.Plugin{ID: "other", Project: w.project.ID, Name: "hello"})
		}, "plugins.name")
		fails(t, db, func(tx *Tx) error { return tx.InsertPluginVersion(v) }, "plugin_versions.version")

		write(t, db, func(tx *Tx) error { return tx.DeletePluginVersion(v2) })
		view(t, db, func(tx *Tx) error { // the first still has it
			b, err := tx.WholeBundle(v.Digest)
			same(t, "bundle", b.ID, err, v.Bundle)
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeletePlugin(p.ID) })
		view(t, db, func(tx *Tx) error {
			if _, err := tx.WholeBundle(v.Digest); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("the bundle of no version is there: %v", err)
			}
			return nil
		})
	})
}

// fails checks that a transaction is a Conflict on a column.
func fails(t *testing.T, db *DB, fn func(tx *Tx) error, column string) {
	t.Helper()
	if err := db.Tx(t.Context(), fn); !IsUnique(err, column) {
		t.Errorf("%v, want a conflict on %s", err, column)
	}
}

func TestABundleComesInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		b := Bundle{ID: s4t.NewID(), Project: w.project.ID, Digest: "d", Size: 8, Hash: "0"}
		write(t, db, func(tx *Tx) error { return tx.InsertBundle(b) })
		fails(t, db, func(tx *Tx) error { return tx.InsertBundle(Bundle{ID: "x", Project: w.project.ID, Digest: "d"}) }, "bundles.digest")
		write(t, db, func(tx *Tx) error {
			got, err := tx.BundleOf(w.project.ID, "d")
			if err != nil || got.Complete() || got.Hash != "0" {
				t.Errorf("%+v, %v", got, err)
			}
			got.Has, got.Hash = 5, "5"
			return tx.PutBundlePart(got, 0, []byte("\x00\xffabc"))
		})
		view(t, db, func(tx *Tx) error {
			if _, err := tx.WholeBundle("d"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a bundle that is not complete is given: %v", err)
			}
			return nil
		})
		write(t, db, func(tx *Tx) error {
			got, err := tx.BundleOf(w.project.ID, "d")
			same(t, "has", got.Has, err, 5)
			got.Has, got.Hash = 8, ""
			return tx.PutBundlePart(got, 5, []byte("def"))
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.WholeBundle("d")
			same(t, "complete", got.Complete(), err, true)
			part, err := tx.BundlePart(got.ID, 0)
			same(t, "first part", string(part), err, "\x00\xffabc")
			part, err = tx.BundlePart(got.ID, 5)
			same(t, "second part", string(part), err, "def")
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.ForgetBundles(time.Hour, 10) })
		view(t, db, func(tx *Tx) error { _, err := tx.WholeBundle("d"); return err })
		write(t, db, func(tx *Tx) error { return tx.ForgetBundles(-time.Hour, 10) })
		view(t, db, func(tx *Tx) error {
			if _, err := tx.WholeBundle("d"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a bundle that nobody uses stays: %v", err)
			}
			return nil
		})
	})
}

func TestAPluginOnABoard(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		p, v := testPlugin(t, db, w.project.ID, "hello")
		user := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: "mia", Project: w.project.ID, Role: s4t.RoleMember, CreatedAt: at}
		i := Injection{
			BoardPlugin: s4t.BoardPlugin{
				ID: s4t.NewID(), Board: w.one.Name, BoardID: w.one.ID, Plugin: p.Name, PluginID: p.ID, Project: w.project.ID, Version: "1", OnBoot: true, Wanted: s4t.PluginRunning,
				Params: map[string]string{"a": "1"}, CreatedAt: at, PluginState: s4t.PluginState{State: s4t.PluginPending},
			},
			Start: 1, Injector: user.ID, Role: s4t.RoleMember, Digest: v.Digest, Size: v.Size, Key: []byte("key"), Signature: v.Signature, API: v.API,
		}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertUser(user, ""); err != nil {
				return err
			}
			if err := tx.InsertInjection(i); err != nil {
				return err
			}
			return tx.InsertToken(TokenRow{Token: s4t.Token{ID: "t", Project: w.project.ID, Role: s4t.RoleReader, CreatedAt: at}, UserID: user.ID, Injection: i.ID}, "hash")
		})
		fails(t, db, func(tx *Tx) error { again := i; again.ID = "x"; return tx.InsertInjection(again) }, "board_plugins.plugin")
		view(t, db, func(tx *Tx) error {
			got, err := tx.Injection(i.ID)
			same(t, "plugin on a board", got, err, i)
			all, err := tx.InjectionsOf(w.one.ID)
			same(t, "plugins of a board", all, err, []Injection{i})
			boards, err := tx.BoardsOfPlugin(p.ID, "", 5)
			same(t, "boards", boards, err, []string{"one"})
			boards, err = tx.BoardsOfPlugin(p.ID, "2", 5)
			same(t, "boards of another version", boards, err, []string{})
			q, err := tx.Quota(w.project.ID, s4t.QuotaTokens)
			same(t, "tokens", q.Used, err, 0)
			token, err := tx.TokenByHash("hash")
			same(t, "token", token.Injection, err, i.ID)
			return nil
		})
		for _, fn := range []func(tx *Tx) error{func(tx *Tx) error { return tx.DeletePlugin(p.ID) }, func(tx *Tx) error { return tx.DeletePluginVersion(v) }} {
			if err := db.Tx(t.Context(), fn); !IsInUse(err) {
				t.Errorf("what a board has was deleted: %v", err)
			}
		}
		write(t, db, func(tx *Tx) error {
			i.SetWanted(false)
			i.Start, i.Earlier, i.Params = 2, &Earlier{Version: "0", OnBoot: true, Params: map[string]string{"b": "2"}}, nil
			if err := tx.SetInjection(i); err != nil {
				return err
			}
			return tx.PutRealizations([]Realization{held(string(w.one.ID), wire.KindPlugin, i.ID, true, "")})
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.Injection(i.ID)
			i.State, i.Up, i.Generation = s4t.PluginStopped, true, 2
			same(t, "changed plugin on a board", got, err, i)
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteInjection(i.ID) })
		view(t, db, func(tx *Tx) error {
			if _, err := tx.TokenByHash("hash"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("the token of a plugin outlives it: %v", err)
			}
			return nil
		})
	})
}

func TestOldTokensOfAPluginAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		p, _ := testPlugin(t, db, w.project.ID, "hello")
		user := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: "mia", Project: w.project.ID, Role: s4t.RoleMember}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertUser(user, ""); err != nil {
				return err
			}
			if err := tx.InsertInjection(Injection{BoardPlugin: s4t.BoardPlugin{ID: "i", BoardID: w.one.ID, PluginID: p.ID, Version: "1"}}); err != nil {
				return err
			}
			for n, id := range []s4t.TokenID{"a", "b", "c"} {
				row := TokenRow{Token: s4t.Token{ID: id, Project: w.project.ID, Role: s4t.RoleReader, CreatedAt: at.Add(time.Duration(n) * time.Second)}, UserID: user.ID, Injection: "i"}
				if err := tx.InsertToken(row, "hash of "+string(id)); err != nil {
					return err
				}
			}
			return tx.TrimInjectionTokens("i", 2)
		})
		view(t, db, func(tx *Tx) error {
			list, err := tx.Tokens(TokenFilter{User: user.ID}, wire.Page{})
			same(t, "tokens", len(list.Items), err, 2)
			_, err = tx.TokenByHash("hash of c")
			return err
		})
	})
}
