package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

var discard = slog.New(slog.DiscardHandler)

// ownCerts shows a certificate of a CA of our own in dir.
func ownCerts(dir string, hosts []string, now func() time.Time, log *slog.Logger) (*certs, error) {
	c := &certs{dir: dir, cas: caDir(dir), hosts: hosts, now: now, log: log}
	return c, c.load(context.Background())
}

// operatorCerts shows the operator's.
func operatorCerts(cert, key, ca string, now func() time.Time, log *slog.Logger) (*certs, error) {
	c := &certs{now: now, log: log, tls: TLS{Cert: cert, Key: key, CA: ca}}
	return c, c.load(context.Background())
}

func clockAt(t time.Time) func() time.Time { return func() time.Time { return t } }

func TestOurCertificateIsGoodForEveryHostAndForOldClocks(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	hosts := []string{"cloud.example.org", "127.0.0.1", "::1", "localhost"}
	c, err := ownCerts(dir, hosts, clockAt(now), discard)
	if err != nil {
		t.Fatal(err)
	}
	chain := c.leaf.Load().Certificate
	if len(chain) != 2 || string(chain[1]) != string(c.shown.Load().ca.Raw) {
		t.Error("the CA does not go along with the certificate")
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.shown.Load().ca)
	for _, host := range []string{"cloud.example.org", "127.0.0.1", "[::1]", "localhost"} {
		for _, at := range []time.Time{now, epoch().Add(time.Hour), now.Add(300 * 24 * time.Hour)} {
			if _, err := c.leaf.Load().Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at}); err != nil {
				t.Errorf("%s at %s: %v", host, at, err)
			}
		}
	}
	if len(c.fingerprint()) != 64 {
		t.Errorf("fingerprint %q", c.fingerprint())
	}
	for file, mode := range map[string]os.FileMode{"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o600} {
		if st, err := os.Stat(filepath.Join(dir, file)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", file, st, err)
		}
	}
}

func TestTheCertificateIsKeptUntilItNoLongerFits(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	open := func(at time.Time, hosts ...string) *certs {
		t.Helper()
		c, err := ownCerts(dir, hosts, clockAt(at), discard)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	serial := func(c *certs) string { return c.leaf.Load().Leaf.SerialNumber.String() }
	first := open(now, "localhost")
	if serial(open(now.Add(time.Hour), "localhost")) != serial(first) {
		t.Error("another one at the next start")
	}
	other := open(now, "localhost", "new.example.org")
	if serial(other) == serial(first) || other.fingerprint() != first.fingerprint() {
		t.Error("a new name needs a new certificate of the same CA")
	}
	if late := open(now.Add(leafLifetime-leafRenew+time.Hour), "localhost", "new.example.org"); serial(late) == serial(other) {
		t.Error("it is not renewed")
	}
	running := open(now, "localhost")
	before := serial(running)
	running.now = clockAt(now.Add(3 * leafLifetime))
	if err := running.refresh(t.Context()); err != nil || serial(running) == before {
		t.Errorf("a process that runs does not renew it: %v", err)
	}
}

func TestALostCAIsNeverReplacedSilently(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
	}{
		{"the key is lost", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }},
		{"the key is another's", func(dir string) error {
			other := filepath.Join(dir, "other")
			if err := os.Mkdir(other, 0o700); err != nil {
				return err
			}
			if _, err := ownCerts(other, []string{"x"}, time.Now, discard); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key"))
		}},
		{"the certificate is damaged", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o644)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := ownCerts(dir, []string{"localhost"}, time.Now, discard); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := ownCerts(dir, []string{"localhost"}, time.Now, discard); err == nil || !strings.Contains(err.Error(), "backup") {
				t.Errorf("got %v", err)
			}
		})
	}
	// A crash between the two files of the first start: no board has seen that CA.
	dir := t.TempDir()
	if _, err := ownCerts(dir, []string{"localhost"}, time.Now, discard); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "ca.pem"))
	if _, err := ownCerts(dir, []string{"localhost"}, time.Now, discard); err != nil {
		t.Errorf("after a crash during the first start: %v", err)
	}
}

func TestTheOperatorsCertificate(t *testing.T) {
	dir := t.TempDir()
	made, err := ownCerts(dir, []string{"cloud.example.org"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.leaf.Load().Certificate[0]})
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("leaf.pem"), leaf, 0o644); err != nil {
		t.Fatal(err)
	}
	public, err := operatorCerts(path("leaf.pem"), path("server.pem"), "", time.Now, discard)
	if err != nil || public.fingerprint() != "" || len(public.trust().CAs) > 0 {
		t.Errorf("the system's roots know its CA: %q, %v", public.fingerprint(), err)
	}
	private, err := operatorCerts(path("leaf.pem"), path("server.pem"), path("ca.pem"), time.Now, discard)
	if err != nil || private.fingerprint() != made.fingerprint() || len(private.leaf.Load().Certificate) != 2 {
		t.Errorf("a CA of the operator's own: %q, %v", private.fingerprint(), err)
	}
	for name, err := range map[string]error{
		"no such file": second(operatorCerts(path("none"), path("server.pem"), "", time.Now, discard)),
		"no such CA":   second(operatorCerts(path("leaf.pem"), path("server.pem"), path("none"), time.Now, discard)),
		"no PEM":       second(operatorCerts(path("leaf.pem"), path("server.pem"), path("ca.key"), time.Now, discard)),
		"expired":      second(operatorCerts(path("leaf.pem"), path("server.pem"), "", clockAt(time.Now().Add(2*leafLifetime)), discard)),
	} {
		if s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *certs, err error) error { return err }

func TestALPN(t *testing.T) {
	c, err := ownCerts(t.TempDir(), []string{"localhost"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.tlsConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(c.shown.Load().ca)
	for want, offer := range map[string][]string{"h2": {"h2", "http/1.1"}, "http/1.1": {"http/1.1"}} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: offer})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("offered %q, got %q", offer, got)
		}
		conn.Close()
	}
}
