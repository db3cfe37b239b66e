package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"
)

// A board that comes back resumes TLS: with the process that it knows, with one that
// shows the same certificate after a restart, within a day; not with another
// certificate, not after two, and nobody does in TLS 1.2.
func TestResumption(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	cloud := func(dir string) *certs {
		t.Helper()
		c, err := ownCerts(dir, []string{"localhost"}, clock, discard)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	known := cloud(dir)
	conf := known.tlsConfig()
	roots := x509.NewCertPool()
	roots.AddCert(known.shown.Load().ca)
	client := &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1), Time: clock}
	resumes := func(conf *tls.Config) bool {
		t.Helper()
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			s := tls.Server(theirs, conf)
			s.Write([]byte("x"))
			s.Close()
		}()
		c := tls.Client(ours, client)
		io.ReadAll(c) // the ticket comes before it
		return c.ConnectionState().DidResume
	}
	client.MaxVersion = tls.VersionTLS12 // where a ticket has keys of the past in it
	for range 2 {
		if resumes(conf) {
			t.Error("TLS 1.2 is resumed")
		}
	}
	client.MaxVersion, client.ClientSessionCache = 0, tls.NewLRUClientSessionCache(1)
	if resumes(conf) {
		t.Fatal("the first handshake resumed something")
	}
	if !resumes(conf) {
		t.Error("the second handshake was a full one")
	}
	if !resumes(cloud(dir).tlsConfig()) {
		t.Error("with the same certificate after a restart: a full one")
	}
	now = now.Add(resumeDay)
	if !resumes(conf) {
		t.Error("a day later: a full one")
	}
	now = now.Add(2 * resumeDay)
	if resumes(conf) {
		t.Error("it resumed a handshake of two days before")
	}
	other := cloud(t.TempDir())
	roots.AddCert(other.shown.Load().ca)
	if resumes(other.tlsConfig()) {
		t.Error("another certificate: it resumed")
	}
}
