package identity

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/seal"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// chained is an identity on a database that a test can also write past it.
type chained struct {
	*Identity
	db  *store.DB
	raw *sql.DB
}

// onChains runs a test on a fresh database of each engine.
func onChains(t *testing.T, test func(t *testing.T, c *chained)) {
	run := func(t *testing.T, url, driver, at string) {
		db, err := store.Open(t.Context(), store.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		raw, err := sql.Open(driver, at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		id, err := New(Config{Store: db, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		test(t, &chained{id, db, raw})
	}
	t.Run("sqlite", func(t *testing.T) {
		schema, err := migrated()
		path := filepath.Join(t.TempDir(), "s4t.db")
		if err == nil {
			err = os.WriteFile(path, schema, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		run(t, "sqlite:"+path, "sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	})
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.Copy(t, func(url string) error {
			db, err := store.Open(context.Background(), store.Config{URL: url})
			if err != nil {
				return err
			}
			return db.Close()
		})
		run(t, url, "pgx", url)
	})
}

// did writes records of a project.
func (c *chained) did(t *testing.T, project s4t.ProjectID, outcome string, n int) {
	t.Helper()
	for range n {
		err := c.db.Tx(t.Context(), func(tx *store.Tx) error {
			return tx.InsertAudit(s4t.AuditRecord{User: "ann", Project: project, Action: "board.update", Name: "kitchen", Outcome: outcome, Detail: "it's ☕"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sealed seals what there is.
func (c *chained) sealed(t *testing.T) {
	t.Helper()
	if err := c.seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (c *chained) sql(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := c.raw.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(query, err)
	}
}

// verify does what a client does.
func (c *chained) verify(t *testing.T, caller wire.Caller, kept *s4t.AuditHead) seal.Report {
	t.Helper()
	v := seal.NewVerifier(kept)
	read := func() (p s4t.AuditChain) {
		for {
			p, err := c.AuditChain(t.Context(), wire.AuditChain{Caller: caller, After: v.Count()})
			if err != nil {
				t.Fatal(err)
			}
			if v.Page(p); len(p.Blocks) == 0 {
				return p
			}
		}
	}
	read()
	v.Chained()
	for page := (wire.Page{}); ; {
		list, err := c.ListAudit(t.Context(), wire.AuditList{Caller: caller, Page: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Items {
			v.Record(r)
		}
		if page.After = list.Next; list.Next == "" {
			break
		}
	}
	return v.Report(read())
}

var admin = wire.Caller{User: "root", Project: "p0", Role: s4t.RoleAdmin}

func (c *chained) head(t *testing.T) s4t.AuditHead {
	t.Helper()
	p, err := c.AuditChain(t.Context(), wire.AuditChain{Caller: admin, After: 1<<63 - 1})
	if err != nil {
		t.Fatal(err)
	}
	return p.Head
}

func TestWhatIsDoneToTheAuditIsFound(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, c *chained)
		want string // in the problem
	}{
		{"nothing", func(*testing.T, *chained) {}, ""},
		{"a text is changed", func(t *testing.T, c *chained) { c.sql(t, `UPDATE audit SET who = 'eve' WHERE id = 17`) }, "record 17 of the chain (id 17, board.update by eve"},
		{"a time is changed", func(t *testing.T, c *chained) { c.sql(t, `UPDATE audit SET at = at + 1 WHERE id = 100`) }, "record 100 "},
		{"an outcome is changed", func(t *testing.T, c *chained) { c.sql(t, `UPDATE audit SET outcome = 'ok' WHERE id = 71`) }, "record 71 "},
		{"two are changed", func(t *testing.T, c *chained) { c.sql(t, `UPDATE audit SET detail = '' WHERE id IN (90, 65)`) }, "record 65 "},
		{"one is removed", func(t *testing.T, c *chained) { c.sql(t, `DELETE FROM audit WHERE id = 64`) }, "record 64 of the chain (id 64, of "},
		{"the last is removed", func(t *testing.T, c *chained) { c.sql(t, `DELETE FROM audit WHERE id = 150`) }, "record 150 "},
		{"one is inserted in between", func(t *testing.T, c *chained) {
			c.sql(t, `UPDATE audit SET id = 900 WHERE id = 150`)
			c.sql(t, `INSERT INTO audit (id, at, who, project, action, object, name, board, outcome, detail) SELECT 150, at, 'eve', project, action, object, name, board, outcome, detail FROM audit WHERE id = 20`)
		}, "record 150 of the chain"},
		{"one is inserted before all", func(t *testing.T, c *chained) {
			c.sql(t, `INSERT INTO audit (id, at, who, project, action, object, name, board, outcome, detail) SELECT 0, at - 1, 'eve', project, action, object, name, board, outcome, detail FROM audit WHERE id = 1`)
		}, "record with id 0 (board.update by eve"},
		{"an old one is appended", func(t *testing.T, c *chained) {
			c.sql(t, `INSERT INTO audit (at, who, project, action, object, name, board, outcome, detail) SELECT at - 7200000000, 'eve', project, action, object, name, board, outcome, detail FROM audit WHERE id = 1`)
			c.sealed(t)
		}, "record 151 of the chain (id 151) was inserted later"},
		{"two change places", func(t *testing.T, c *chained) {
			c.sql(t, `UPDATE audit SET id = -1 WHERE id = 5`)
			c.sql(t, `UPDATE audit SET id = 5 WHERE id = 105`)
			c.sql(t, `UPDATE audit SET id = 105 WHERE id = -1`)
		}, "were reordered"},
		{"a block is removed with its records", func(t *testing.T, c *chained) {
			c.sql(t, `DELETE FROM audit WHERE id BETWEEN 65 AND 128`)
			c.sql(t, `DELETE FROM audit_blocks WHERE last_number = 128`)
		}, "records 65 to 128 of the chain were removed"},
		{"a block is said to be trimmed", func(t *testing.T, c *chained) {
			c.sql(t, `DELETE FROM audit WHERE id BETWEEN 65 AND 128`)
			c.sql(t, `UPDATE audit_blocks SET entries = '', gap = signature WHERE last_number = 128`)
		}, "were removed, and not by the cloud"},
		{"a part is said to be trimmed", func(t *testing.T, c *chained) {
			c.sql(t, `DELETE FROM audit WHERE id = 1`)
			c.sql(t, `INSERT INTO audit_marks (project, refused, at, id, signature) SELECT 'p1', 0, at, 1, 'AAAA' FROM audit WHERE id = 2`)
		}, "did not sign"},
		{"the end is cut off", func(t *testing.T, c *chained) {
			c.sql(t, `DELETE FROM audit WHERE id > 128`)
			c.sql(t, `DELETE FROM audit_blocks WHERE last_number > 128`)
		}, "what came between was removed"},
		{"all of it is made anew, with the cloud's key", func(t *testing.T, c *chained) {
			c.sql(t, `UPDATE audit SET who = 'eve' WHERE id = 3`)
			c.sql(t, `DELETE FROM audit_blocks`)
			c.sql(t, `UPDATE audit_head SET count = 0, chain = '', last_id = 0`)
			c.sealed(t)
		}, "it was made anew"},
	}
	onChains(t, func(t *testing.T, c *chained) {
		for _, tt := range tests {
			for _, table := range []string{"audit", "audit_blocks", "audit_marks"} {
				c.sql(t, `DELETE FROM `+table)
			}
			c.sql(t, `UPDATE audit_head SET count = 0, chain = '', last_id = 0, holes = '', adopt = 0`)
			// Ids begin at 1 again.
			if _, err := c.raw.ExecContext(t.Context(), `ALTER SEQUENCE audit_id_seq RESTART WITH 1`); err != nil {
				c.sql(t, `DELETE FROM sqlite_sequence WHERE name = 'audit'`)
			}
			c.did(t, "p1", "ok", 70)
			c.did(t, "p2", "forbidden", 3)
			c.did(t, "p1", "ok", 77)
			c.sealed(t)
			kept := c.head(t)
			if r := c.verify(t, admin, &kept); !r.OK() || r.Records != 150 || r.Head.Count != 150 {
				t.Fatalf("%s: before: %+v", tt.name, r)
			}
			tt.do(t, c)
			r := c.verify(t, admin, &kept)
			if r.OK() != (tt.want == "") || !strings.Contains(r.Problem, tt.want) {
				t.Errorf("%s: %q, want %q", tt.name, r.Problem, tt.want)
			}
		}
	})
}

func TestTheChainGoesOnWhereTheAuditIsTrimmed(t *testing.T) {
	onChains(t, func(t *testing.T, c *chained) {
		c.did(t, "quiet", "ok", 1)
		c.did(t, "loud", "ok", 150)
		c.did(t, "quiet", "forbidden", 1)
		c.did(t, "loud", "ok", 150)
		c.sealed(t)
		kept := c.head(t)
		if err := c.trimAudit(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		c.did(t, "loud", "ok", 10)
		c.sealed(t)
		if err := c.trimAudit(t.Context(), 40); err != nil {
			t.Fatal(err)
		}
		r := c.verify(t, admin, &kept)
		if !r.OK() || r.Trimmed != 272 || r.Records != 40 {
			t.Errorf("%+v", r)
		}
		var blocks, bytes int
		if err := c.raw.QueryRow(`SELECT COUNT(*), SUM(LENGTH(entries)) FROM audit_blocks`).Scan(&blocks, &bytes); err != nil || blocks > 6 {
			t.Errorf("%d blocks of %d bytes are kept, %v", blocks, bytes, err)
		}
		// What was not trimmed and is missing is found in spite of it.
		c.sql(t, `DELETE FROM audit WHERE id = 1`)
		if r := c.verify(t, admin, nil); !strings.HasPrefix(r.Problem, "record 1 of the chain (id 1,") {
			t.Errorf("%+v", r)
		}
	})
}

func TestEachVerifiesItsPart(t *testing.T) {
	onChains(t, func(t *testing.T, c *chained) {
		c.did(t, "p1", "ok", 5)
		c.did(t, "p2", "ok", 5)
		c.sealed(t)
		c.did(t, "p1", "ok", 1)
		one, two := wire.Caller{Project: "p1", Role: s4t.RoleReader}, wire.Caller{Project: "p2", Role: s4t.RoleReader}
		if r := c.verify(t, one, nil); !r.OK() || r.Records != 5 || r.Others != 5 || r.Open != 1 {
			t.Errorf("%+v", r)
		}
		page, err := c.AuditChain(t.Context(), wire.AuditChain{Caller: two})
		if text, _ := json.Marshal(page); err != nil || strings.Contains(string(text), `"p1"`) || len(page.Blocks) != 1 || len(page.Blocks[0].Own) != 5*58 {
			t.Errorf("%s, %v", text, err)
		}
		c.sql(t, `UPDATE audit SET who = 'eve' WHERE id = 2`)
		if r := c.verify(t, one, nil); !strings.Contains(r.Problem, "record 2 ") {
			t.Errorf("%+v", r)
		}
		if r := c.verify(t, two, nil); !r.OK() {
			t.Errorf("%+v", r)
		}
	})
}

// TestRecordsThatAreCommittedLateAreSealed: of several processes that write and seal at once, and of
// transactions that take long, each record is in the chain once.
func TestRecordsThatAreCommittedLateAreSealed(t *testing.T) {
	onChains(t, func(t *testing.T, c *chained) {
		other, err := New(Config{Store: c.db, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for n := range 25 {
					err := c.db.Tx(t.Context(), func(tx *store.Tx) error {
						err := tx.InsertAudit(s4t.AuditRecord{User: fmt.Sprint(w), Action: "test", Outcome: "ok", Detail: fmt.Sprint(n)})
						if err == nil && n%5 == 0 {
							_, err = tx.AuditSince(0, 1000) // meanwhile others commit
						}
						if err == nil && n%7 == 0 {
							err = s4t.Errorf(s4t.Conflict, "test", "", "rolled back")
						}
						return err
					})
					if err != nil && s4t.KindOf(err) != s4t.Conflict {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		var sealers sync.WaitGroup
		for _, i := range []*Identity{c.Identity, other} {
			sealers.Go(func() {
				for ended := false; !ended; {
					select {
					case <-done:
						ended = true
					default:
					}
					if err := i.seal(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		close(done)
		sealers.Wait()
		if r := c.verify(t, admin, nil); !r.OK() || r.Records != 8*(25-4) || r.Head.Count != r.Records || r.Open != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestTheChainIsKeptByACopyAndABackup: from one engine to the other, and from a backup with records
// that nobody had sealed.
func TestTheChainIsKeptByACopyAndABackup(t *testing.T) {
	onChains(t, func(t *testing.T, c *chained) {
		c.did(t, "p1", "ok", 100)
		c.sealed(t)
		kept := c.head(t)
		c.did(t, "p1", "ok", 3)
		path := filepath.Join(t.TempDir(), "backup.db")
		if err := c.db.Snapshot(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Now: func() time.Time { return time.Now().Add(48 * time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Restored(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, err := New(Config{Store: db, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		restored := &chained{Identity: id, db: db}
		restored.did(t, "p1", "ok", 2)
		restored.sealed(t)
		if r := restored.verify(t, admin, &kept); !r.OK() || r.Records != 105 || r.Head.Count != 105 || r.Open != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestAnotherKeyIsNotTheClouds(t *testing.T) {
	onChains(t, func(t *testing.T, c *chained) {
		c.did(t, "p1", "ok", 2)
		c.sealed(t)
		kept := c.head(t)
		key := ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
		c.signer.Store(&key)
		if r := c.verify(t, admin, &kept); !strings.Contains(r.Problem, "another key") {
			t.Errorf("%+v", r)
		}
		if r := c.verify(t, admin, nil); !strings.Contains(r.Problem, "did not sign") {
			t.Errorf("%+v", r)
		}
	})
}

// BenchmarkAudit is how fast records are written, of eight requests at a time, without a sealer and
// with one: requests do not wait for it.
func BenchmarkAudit(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, sealed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/sealed=%v", engine, sealed), func(b *testing.B) {
				url := "sqlite:" + filepath.Join(b.TempDir(), "s4t.db")
				if engine == "postgres" {
					url = pgtest.URL(b)
				}
				db, err := store.Open(b.Context(), store.Config{URL: url})
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				i, err := New(Config{Store: db, Key: testKey})
				if err != nil {
					b.Fatal(err)
				}
				ctx, stop := context.WithCancel(b.Context())
				var sealer sync.WaitGroup
				if sealed {
					sealer.Go(func() { i.sealing(ctx) })
				}
				b.ResetTimer()
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := db.Tx(ctx, func(tx *store.Tx) error {
							return tx.InsertAudit(s4t.AuditRecord{User: "ann", Project: "p1", Action: "board.update", Object: "0123456789abcdef", Name: "kitchen", Outcome: "ok"})
						}); err != nil {
							b.Error(err)
						}
					}
				})
				b.StopTimer()
				stop()
				sealer.Wait()
			})
		}
	}
}
