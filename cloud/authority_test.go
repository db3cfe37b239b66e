package cloud

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func openPostgres(t *testing.T) *store.DB {
	db, err := store.Open(t.Context(), store.Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// TestAuthorities holds that our own CAs are the same wherever they are kept.
func TestAuthorities(t *testing.T) {
	for name, newAuthority := range map[string]func(t *testing.T) authority{
		"directory": func(t *testing.T) authority { return caDir(t.TempDir()) },
		"database":  func(t *testing.T) authority { return caTable{openPostgres(t), caDir(t.TempDir())} },
	} {
		t.Run(name, func(t *testing.T) {
			a, ctx, now := newAuthority(t), t.Context(), time.Now()
			if _, err := a.load(ctx, presentCA); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("before it is made: %v", err)
			}
			first, err := a.take(ctx, presentCA, now)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := a.take(ctx, presentCA, now); err != nil || !again.cert.Equal(first.cert) || !again.key.Equal(first.key) {
				t.Errorf("taken again: %v", err)
			}
			if _, err := a.load(ctx, nextCA); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a next one that is not made: %v", err)
			}
			if err := a.promote(ctx); err == nil {
				t.Error("a next one that is not made takes over")
			}
			next, err := a.take(ctx, nextCA, now)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(a.promote(ctx), a.finish()); err != nil {
				t.Fatal(err)
			}
			if now, err := a.load(ctx, presentCA); err != nil || !now.cert.Equal(next.cert) || !now.key.Equal(next.key) {
				t.Errorf("after the change: %v", err)
			}
			if _, err := a.load(ctx, nextCA); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the next one after the change: %v", err)
			}
		})
	}
}

// TestADirectoryIsTakenOver holds that a cloud which had its CA in the directory of
// its one conductor goes on with it, and that the directory counts no more then.
func TestADirectoryIsTakenOver(t *testing.T) {
	ctx, now, dir := t.Context(), time.Now(), caDir(t.TempDir())
	had, err := dir.take(ctx, presentCA, now)
	if err != nil {
		t.Fatal(err)
	}
	hadNext, err := dir.take(ctx, nextCA, now)
	if err != nil {
		t.Fatal(err)
	}
	table := caTable{openPostgres(t), dir}
	if ca, err := table.load(ctx, presentCA); err != nil || !ca.cert.Equal(had.cert) { // which changes nothing
		t.Errorf("read before the start: %v", err)
	}
	if ca, err := table.take(ctx, presentCA, now); err != nil || !ca.cert.Equal(had.cert) {
		t.Errorf("%v", err)
	}
	if err := table.promote(ctx); err != nil {
		t.Fatal(err)
	}
	elsewhere := caTable{table.db, caDir(t.TempDir())}
	for _, a := range []authority{table, elsewhere} {
		if ca, err := a.load(ctx, presentCA); err != nil || !ca.cert.Equal(hadNext.cert) {
			t.Errorf("the next one: %v", err)
		}
		if _, err := a.load(ctx, nextCA); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another one after it: %v", err)
		}
	}
}

// TestConductorsThatStartAtOnceHaveOneCA starts several on an empty database.
func TestConductorsThatStartAtOnceHaveOneCA(t *testing.T) {
	db := openPostgres(t)
	names := make([]string, 4)
	var starting sync.WaitGroup
	for i := range names {
		starting.Go(func() {
			ca, err := caTable{db, caDir(t.TempDir())}.take(context.Background(), presentCA, time.Now())
			if err != nil {
				t.Error(err)
				return
			}
			names[i] = nameOf(ca.cert)
		})
	}
	starting.Wait()
	for _, name := range names {
		if name != names[0] {
			t.Errorf("they have %v", names)
		}
	}
}

// TestTheConductorSigns holds what a process gets that has no CA, and what not.
func TestTheConductorSigns(t *testing.T) {
	conductor, err := ownCerts(t.TempDir(), []string{"localhost"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	agent := &certs{hosts: []string{"a.example.org", "192.0.2.7", "::1"}, now: time.Now, log: discard, ask: conductor.signFor}
	if err := agent.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(conductor.shown.Load().ca)
	leaf := agent.leaf.Load()
	for _, host := range agent.hosts {
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: bracket(host)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if got, want := agent.trust(), conductor.trust(); got.Sum() != want.Sum() || agent.fingerprint() != conductor.fingerprint() {
		t.Errorf("it tells to trust %v, the conductor %v", got, want)
	}
	before := leaf.Leaf.SerialNumber
	if err := agent.refresh(t.Context()); err != nil || agent.leaf.Load().Leaf.SerialNumber.Cmp(before) == 0 {
		t.Errorf("an hour later: %v", err)
	}
	// What is announced reaches it with the next one.
	if err := conductor.reload(t.Context(), TLS{NextCA: NextOwn}); err != nil {
		t.Fatal(err)
	}
	if err := agent.refresh(t.Context()); err != nil || len(agent.trust().CAs) != 2 || agent.trust().Sum() != conductor.trust().Sum() {
		t.Errorf("a CA that is announced: %v, %d", err, len(agent.trust().CAs))
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, hosts := range [][]string{nil, {"*.example.org"}, make([]string, 17)} {
		for i := range hosts {
			if hosts[i] == "" {
				hosts[i] = "a.example.org"
			}
		}
		csr, err := newRequest(key, hosts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conductor.signFor(t.Context(), wire.CertificateRequest{Request: csr}); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%d names are signed: %v", len(hosts), err)
		}
	}
	if _, err := conductor.signFor(t.Context(), wire.CertificateRequest{Request: []byte("x")}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("nonsense: %v", err)
	}
	proxied := &certs{tls: TLS{Off: true}, now: time.Now, log: discard}
	agent = &certs{hosts: agent.hosts, now: time.Now, log: discard, ask: proxied.signFor}
	if err := agent.load(t.Context()); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a conductor without a CA: %v", err)
	}
}

// TestAProcessWaitsForAConductor holds that a certificate is waited for, until
// somebody stops the process.
func TestAProcessWaitsForAConductor(t *testing.T) {
	conductor, err := ownCerts(t.TempDir(), []string{"localhost"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	c := &certs{hosts: []string{"a"}, now: time.Now, log: discard, ask: func(ctx context.Context, req wire.CertificateRequest) (wire.CertificateReply, error) {
		if tries++; tries < 4 {
			return wire.CertificateReply{}, s4t.Errorf(s4t.Unavailable, "ask", "", "nobody is there")
		}
		return conductor.signFor(ctx, req)
	}}
	if err := c.load(t.Context()); err != nil || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c = &certs{hosts: []string{"a"}, now: time.Now, log: discard, ask: func(context.Context, wire.CertificateRequest) (wire.CertificateReply, error) {
		cancel()
		return wire.CertificateReply{}, s4t.Errorf(s4t.Unavailable, "ask", "", "nobody is there")
	}}
	if err := c.load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
