package cloud

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// board adds an enrolled board that says to trust these.
func board(t *testing.T, db *store.DB, name string, trusts ...string) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		b := store.Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Project: "p", Name: name, Info: s4t.BoardInfo{Trusts: trusts}}, PublicKey: make([]byte, 32)}
		if err := tx.InsertBoard(b); err != nil {
			return err
		}
		if err := tx.SetBoardKey(b); err != nil {
			return err
		}
		return tx.SetBoardSays(b)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// trustDB is a database with a project.
func trustDB(t *testing.T) (db *store.DB, dir string) {
	t.Helper()
	dir = t.TempDir()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "s4t.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Tx(t.Context(), func(tx *store.Tx) error { return tx.InsertProject(s4t.Project{ID: "p", Name: "lab"}) }); err != nil {
		t.Fatal(err)
	}
	return db, dir
}

// guarded are certs that ask the boards of db, as a conductor's do.
func guarded(db *store.DB, dir string, now func() time.Time) *certs {
	return &certs{
		dir: dir, cas: caDir(dir), hosts: []string{"localhost"}, now: now, log: discard,
		allow: func(ctx context.Context, s shown) error { return allow(ctx, db, s, 0) },
		changed: func(ctx context.Context, s shown) error {
			return db.Tx(ctx, func(tx *store.Tx) error { return tx.SetCertificate(s.certificate()) })
		},
	}
}

func TestOurOwnCAIsReplacedInTimeByOneThatBoardsKnow(t *testing.T) {
	db, dir := trustDB(t)
	start := time.Now()
	now := start
	c := guarded(db, dir, func() time.Time { return now })
	if err := c.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := c.fingerprint()
	board(t, db, "kitchen", first)
	board(t, db, "cellar") // an older lightning-rod
	refresh := func() {
		t.Helper()
		if err := c.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if len(c.trust().CAs) != 1 {
		t.Error("another CA is announced from the first day on")
	}
	now = start.Add(caLifetime - caNearsEnd + time.Hour)
	refresh()
	if c.fingerprint() != first || len(c.trust().CAs) != 2 {
		t.Fatalf("a year before its end: %d CAs are announced", len(c.trust().CAs))
	}
	next := nameOf(c.shown.Load().next[0])
	now = now.Add(2 * settleTime)
	refresh()
	if c.fingerprint() != first {
		t.Fatal("it took over although boards would be cut off")
	}
	s, err := ReadStatus(t.Context(), db)
	if err != nil || !slices.Equal(s.Certificate.Next, []string{next}) || !slices.Equal(s.Certificate.NextUnknown, []string{"cellar", "kitchen"}) || len(s.Certificate.Untrusting) != 0 || s.Boards.Enrolled != 2 {
		t.Errorf("status %+v, %v", s, err)
	}
	for range 2 { // both are told
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			for _, name := range []string{"kitchen", "cellar"} {
				found, err := tx.BoardsNamed("p", name)
				if err != nil {
					return err
				}
				found[0].Info.Trusts = []string{first, next}
				if err := tx.SetBoardSays(found[0]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if c.fingerprint() != next || len(c.trust().CAs) != 1 {
		t.Errorf("it did not take over")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "next-ca*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
}

func TestAPromotionGoesOnAfterACrash(t *testing.T) {
	dir := t.TempDir()
	first, err := caDir(dir).take(t.Context(), presentCA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	next, err := caDir(dir).take(t.Context(), nextCA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := caDir(dir).finish(); err != nil {
		t.Fatal(err)
	}
	if c, err := ownCerts(dir, []string{"localhost"}, time.Now, discard); err != nil || c.fingerprint() != nameOf(first.cert) {
		t.Errorf("without a crash: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "next-ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), key, 0o600); err != nil { // and then the power fails
		t.Fatal(err)
	}
	c, err := ownCerts(dir, []string{"localhost"}, time.Now, discard)
	if err != nil || c.fingerprint() != nameOf(next.cert) {
		t.Errorf("after the crash: %v", err)
	}
}

func TestACertificateThatCutsBoardsOffIsRefused(t *testing.T) {
	db, dir := trustDB(t)
	c := guarded(db, dir, time.Now)
	if err := c.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := c.fingerprint()
	board(t, db, "both", own, s4t.SystemRoots)
	board(t, db, "old") // does not say: it trusts what was shown last
	check := func(dir string, tls TLS) error {
		return Check(t.Context(), Config{Roles: AllRoles(), Data: dir, TLS: tls}, db)
	}
	if err := check(dir, TLS{}); err != nil {
		t.Errorf("what is shown: %v", err)
	}
	other := t.TempDir()
	public := &certs{dir: other, cas: caDir(other), hosts: []string{"localhost"}, now: time.Now, log: discard}
	if err := public.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	tls := TLS{Cert: filepath.Join(public.dir, "server.pem"), Key: filepath.Join(public.dir, "server.pem")}
	err := check(dir, tls)
	if s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "1 of 2 boards would be cut off, because they do not trust it: old;") {
		t.Errorf("a public CA: %v", err)
	}
	if err := c.reload(t.Context(), tls); s4t.KindOf(err) != s4t.Conflict || c.fingerprint() != own {
		t.Errorf("reload: %v", err)
	}
	tls.CutOffBoards = 1
	if err := check(dir, tls); err != nil {
		t.Errorf("with a board to lose: %v", err)
	}
	tls.CutOffBoards, tls.CA = 0, filepath.Join(dir, "ca.pem")
	if err := check(dir, tls); s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), "did not sign it") {
		t.Errorf("a CA that did not sign the certificate: %v", err)
	}
	// The data directory is lost: a new CA would be made, and nobody trusts it.
	empty := t.TempDir()
	if err := check(empty, TLS{}); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "2 of 2") {
		t.Errorf("a lost directory: %v", err)
	}
	lost := guarded(db, empty, time.Now)
	if err := lost.load(t.Context()); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a start with a lost directory: %v", err)
	}
	if left, _ := os.ReadDir(empty); len(left) > 0 {
		t.Errorf("a refused start made %v", left)
	}
	// Behind a proxy that ends TLS it is a public CA; without TLS at all it is nobody's.
	if err := Check(t.Context(), Config{URL: "https://cloud.test", TLS: TLS{Off: true}}, db); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("behind a reverse proxy: %v", err)
	}
	if err := Check(t.Context(), Config{TLS: TLS{Off: true}}, db); err != nil {
		t.Errorf("without TLS: %v", err)
	}
}

func TestWhatIsAnnounced(t *testing.T) {
	db, dir := trustDB(t)
	c := guarded(db, dir, time.Now)
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	ca, err := caDir(other).take(t.Context(), presentCA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		next   string
		cas    int
		system bool
	}{{"", 1, false}, {NextSystem, 1, true}, {NextOwn, 2, false}, {NextOwn, 2, false}, {filepath.Join(other, "ca.pem"), 2, false}, {"", 1, false}} {
		if err := c.reload(t.Context(), TLS{NextCA: tt.next}); err != nil {
			t.Errorf("%s: %v", tt.next, err)
		}
		if got := c.trust(); len(got.CAs) != tt.cas || got.SystemRoots != tt.system {
			t.Errorf("%s: %d CAs, system %v", tt.next, len(got.CAs), got.SystemRoots)
		}
		if strings.HasPrefix(tt.next, other) && !strings.Contains(c.trust().CAs[1], certPEM(ca.cert)) {
			t.Error("the file's CA is not announced")
		}
	}
	for _, path := range []string{bad, filepath.Join(dir, "none.pem")} {
		if err := c.reload(t.Context(), TLS{NextCA: path}); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", path, err)
		}
		if err := Check(t.Context(), Config{Roles: AllRoles(), Data: dir, TLS: TLS{NextCA: path}}, nil); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("check %s: %v", path, err)
		}
	}
}
