package cloud

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// certs is what the server shows, a certificate of our own CA or the operator's,
// and what boards and users are told to trust.
type certs struct {
	dir   string    // of server.pem; needed with cas
	cas   authority // our own CAs; nil: there are none here
	hosts []string  // names and addresses that the certificate must be good for; none: nothing is shown
	plain bool      // others are told an http:// URL: there is nothing to trust
	now   func() time.Time
	log   *slog.Logger

	// ask has a conductor sign for the key of this process: our own CA is elsewhere.
	// Optional.
	ask func(ctx context.Context, req wire.CertificateRequest) (wire.CertificateReply, error)

	// allow refuses a certificate that boards do not trust, changed is told when
	// there is another one. Optional; both are called under mu.
	allow   func(ctx context.Context, s shown) error
	changed func(ctx context.Context, s shown) error

	mu    sync.Mutex // held while files are read, and guards tls
	tls   TLS
	leaf  atomic.Pointer[tls.Certificate]
	shown atomic.Pointer[shown]
}

// shown is whom clients are to trust. Its values are not changed.
type shown struct {
	off    bool                // there is no TLS at all
	ca     *x509.Certificate   // of what is shown; nil: their system's roots know it
	next   []*x509.Certificate // announced beside it
	system bool                // what their systems trust is announced beside it
}

// load reads the certificate for the first time.
func (c *certs) load(ctx context.Context) error { return c.reload(ctx, c.tls) }

// reload takes another configuration, or the same whose files have changed.
// Where it fails, all stays as it is.
func (c *certs) reload(ctx context.Context, t TLS) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asks(t) {
		return c.obtain(ctx, t)
	}
	if c.cas != nil {
		if err := c.cas.finish(); err != nil {
			return err
		}
	}
	s, err := c.shownBy(ctx, t)
	if err != nil {
		return err
	}
	if c.allow != nil {
		if err := c.allow(ctx, s); err != nil {
			return err
		}
	}
	leaf, ca, err := c.leafBy(ctx, t)
	if err != nil {
		return err
	}
	s.ca = ca
	if err := c.announce(ctx, t, &s); err != nil {
		return err
	}
	c.tls = t
	before := c.shown.Load()
	c.leaf.Store(leaf)
	c.shown.Store(&s)
	if c.changed != nil && (before == nil || !s.same(*before)) {
		return c.changed(ctx, s)
	}
	return nil
}

// shownBy says what a configuration would show, and makes nothing. The CA is nil
// with our own CA where there is none yet, as new says.
func (c *certs) shownBy(ctx context.Context, t TLS) (s shown, err error) {
	switch {
	case t.Off:
		return shown{off: c.plain}, nil
	case t.Cert != "":
		_, s.ca, err = readOperator(t, c.now())
		return s, err
	}
	ca, err := c.cas.load(ctx, presentCA)
	if errors.Is(err, fs.ErrNotExist) {
		return shown{ca: unmade}, nil
	}
	if err == nil {
		s.ca = ca.cert
	}
	return s, err
}

// unmade stands for a CA that a start would make.
var unmade = &x509.Certificate{}

// leafBy reads or makes the certificate to show and its CA, nil where systems'
// roots know it.
func (c *certs) leafBy(ctx context.Context, t TLS) (*tls.Certificate, *x509.Certificate, error) {
	switch {
	case t.Off:
		return nil, nil, nil
	case t.Cert != "":
		return readOperator(t, c.now())
	}
	ca, err := c.cas.take(ctx, presentCA, c.now())
	if err != nil || len(c.hosts) == 0 {
		if err != nil {
			return nil, nil, err
		}
		return nil, ca.cert, nil
	}
	leaf, err := ca.serverCert(filepath.Join(c.dir, "server.pem"), c.hosts, c.now())
	return leaf, ca.cert, err
}

// caNearsEnd is how long before the end of our own CA the next one is made and
// announced, settleTime how long it is announced at least before it takes over.
const (
	caNearsEnd = 365 * 24 * time.Hour
	settleTime = 30 * 24 * time.Hour
)

// nearsEnd reports whether our own CA, the present one, has to be replaced.
func (c *certs) nearsEnd(t TLS, ca *x509.Certificate) bool {
	return !t.Off && t.Cert == "" && c.now().After(ca.NotAfter.Add(-caNearsEnd))
}

// announce reads or makes what is to be shown next.
func (c *certs) announce(ctx context.Context, t TLS, s *shown) error {
	switch {
	case t.NextCA == NextSystem:
		s.system = true
	case t.NextCA == NextOwn, t.NextCA == "" && c.nearsEnd(t, s.ca):
		if c.cas == nil {
			return s4t.Errorf(s4t.Invalid, "announce a CA of our own", "name a data directory", "there is none to keep it in")
		}
		name := presentCA
		if !t.Off && t.Cert == "" {
			name = nextCA
		}
		ca, err := c.cas.take(ctx, name, c.now())
		if err != nil {
			return err
		}
		s.next = []*x509.Certificate{ca.cert}
	case t.NextCA != "":
		var err error
		s.next, err = readCAs(t.NextCA, "tls.next_ca")
		return err
	}
	return nil
}

// maxNext is how many CAs a file of tls.next_ca may hold.
const maxNext = 3

// readCAs reads a file of CA certificates.
func readCAs(path, key string) ([]*x509.Certificate, error) {
	op := "read the CA " + path
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "check "+key, "%w", err)
	}
	var cas []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, op, "check "+key, "%w", err)
		}
		cas = append(cas, ca)
	}
	if len(cas) == 0 || len(cas) > maxNext {
		return nil, s4t.Errorf(s4t.Invalid, op, "check "+key, "it holds %d certificates in PEM, and 1 to %d can be used", len(cas), maxNext)
	}
	return cas, nil
}

// readOperator reads the operator's certificate, and puts the CA behind it where
// the file does not have it.
func readOperator(t TLS, now time.Time) (*tls.Certificate, *x509.Certificate, error) {
	op := "read the certificate " + t.Cert
	leaf, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, nil, s4t.Errorf(s4t.Invalid, op, "check tls.cert and tls.key", "%w", err)
	}
	if now.After(leaf.Leaf.NotAfter) {
		return nil, nil, s4t.Errorf(s4t.Invalid, op, "renew it", "it expired on %s", leaf.Leaf.NotAfter.Format(time.DateOnly))
	}
	if t.CA == "" {
		return &leaf, nil, nil
	}
	cas, err := readCAs(t.CA, "tls.ca")
	if err != nil {
		return nil, nil, err
	}
	ca := cas[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	for _, der := range leaf.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
		return nil, nil, s4t.Errorf(s4t.Invalid, op, "check tls.cert and tls.ca; tls.cert holds the chain, leaf first", "%s did not sign it: %w", t.CA, err)
	}
	if !slices.ContainsFunc(leaf.Certificate, func(der []byte) bool { return bytes.Equal(der, ca.Raw) }) {
		leaf.Certificate = append(leaf.Certificate, ca.Raw)
	}
	return &leaf, ca, nil
}

// nameOf is how boards tell that they trust a CA; nil: their system's roots.
func nameOf(ca *x509.Certificate) string {
	switch ca {
	case nil:
		return s4t.SystemRoots
	case unmade:
		return ""
	}
	sum := sha256.Sum256(ca.Raw)
	return hex.EncodeToString(sum[:])
}

// certificate is what the database keeps of it.
func (s shown) certificate() store.Certificate {
	c := store.Certificate{Shown: nameOf(s.ca)}
	for _, ca := range s.next {
		c.Next = append(c.Next, nameOf(ca))
	}
	if s.system {
		c.Next = append(c.Next, s4t.SystemRoots)
	}
	return c
}

func (s shown) same(as shown) bool {
	a, b := s.certificate(), as.certificate()
	return a.Shown == b.Shown && slices.Equal(a.Next, b.Next) && s.off == as.off
}

// trust is what boards and users are told. With nothing to trust it is empty.
func (s shown) trust() wire.Trust {
	t := wire.Trust{SystemRoots: s.system || s.ca == nil && !s.off}
	if s.ca != nil {
		t.CAs = append(t.CAs, certPEM(s.ca))
	}
	for _, ca := range s.next {
		t.CAs = append(t.CAs, certPEM(ca))
	}
	return t
}

// trust is what boards and users are told now.
func (c *certs) trust() wire.Trust { return c.shown.Load().trust() }

// until is the end of the certificate that is shown; zero without one.
func (c *certs) until() time.Time {
	if leaf := c.leaf.Load(); leaf != nil && leaf.Leaf != nil {
		return leaf.Leaf.NotAfter
	}
	return time.Time{}
}

// fingerprint of the CA: SHA-256 of its DER in hex; empty without one.
func (c *certs) fingerprint() string {
	if ca := c.shown.Load().ca; ca != nil {
		return nameOf(ca)
	}
	return ""
}

// tlsConfig of the listener. Clients that offer HTTP/1.1 only get it: WAMP and
// rtunnels need its upgrade.
func (c *certs) tlsConfig() *tls.Config {
	conf := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.leaf.Load(), nil },
	}
	(&resumption{now: c.now, leaf: &c.leaf}).use(conf)
	return conf
}

// Run renews our certificate before it expires, takes the operator's new one when
// the file changed, and has the next CA take over in time, every hour until ctx
// ends.
func (c *certs) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.refresh(ctx); err != nil {
				c.log.Error("the server's certificate could not be renewed; the old one stays", "err", err)
			}
		}
	}
}

// refresh reads the files again.
func (c *certs) refresh(ctx context.Context) error {
	c.mu.Lock()
	t := c.tls
	c.mu.Unlock()
	if err := c.takeOver(ctx, t); err != nil {
		c.log.Warn("the cloud's own CA ends soon, and the next one cannot take over yet; see `iotronic status`", "ends", c.shown.Load().ca.NotAfter.Format(time.DateOnly), "err", err)
	}
	return c.reload(ctx, t)
}

// takeOver has the next CA of our own take over, where the present one nears its
// end and nobody is cut off by it.
func (c *certs) takeOver(ctx context.Context, t TLS) error {
	s := c.shown.Load()
	if c.allow == nil || t.NextCA != "" || s.ca == nil || !c.nearsEnd(t, s.ca) || len(s.next) == 0 {
		return nil
	}
	if made := s.next[0].NotAfter.Add(-caLifetime); c.now().Before(made.Add(settleTime)) {
		return nil
	}
	if err := c.allow(ctx, shown{ca: s.next[0]}); err != nil {
		return err
	}
	return c.cas.promote(ctx)
}
