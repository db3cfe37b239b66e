package cloud

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
)

// Validity of what we issue. It begins well in the past, because a board's
// clock may be behind by years when it joins.
const (
	caLifetime   = 20 * 365 * 24 * time.Hour
	leafLifetime = 397 * 24 * time.Hour // the longest that clients of the Web accept
	leafRenew    = 130 * 24 * time.Hour // a third of it
)

// epoch is when our certificates begin to be valid.
func epoch() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

// certs is what the server shows: a certificate of our own CA, or the
// operator's.
type certs struct {
	dir   string   // of ca.pem, ca.key, server.pem; empty with an operator's certificate
	hosts []string // names and addresses that the certificate must be good for
	now   func() time.Time
	log   *slog.Logger

	ca    *x509.Certificate // nil where clients trust their system's roots
	caKey *ecdsa.PrivateKey
	leaf  atomic.Pointer[tls.Certificate]

	certFile, keyFile, caFile string // the operator's
}

// ownCerts makes the CA in dir on the first start, and a certificate for
// hosts, where there are any: who listens nowhere needs the CA only.
func ownCerts(dir string, hosts []string, now func() time.Time, log *slog.Logger) (*certs, error) {
	c := &certs{dir: dir, hosts: hosts, now: now, log: log}
	if err := c.loadCA(); err != nil {
		return nil, err
	}
	return c, c.refresh()
}

// operatorCerts uses the operator's files. caFile may be empty: then clients
// and boards trust their system's roots.
func operatorCerts(certFile, keyFile, caFile string, now func() time.Time, log *slog.Logger) (*certs, error) {
	c := &certs{certFile: certFile, keyFile: keyFile, caFile: caFile, now: now, log: log}
	return c, c.refresh()
}

// fingerprint of the CA: SHA-256 of its DER in hex; empty without one.
func (c *certs) fingerprint() string {
	if c == nil || c.ca == nil {
		return ""
	}
	sum := sha256.Sum256(c.ca.Raw)
	return hex.EncodeToString(sum[:])
}

// caPEM is the CA for contexts; empty without one.
func (c *certs) caPEM() string {
	if c == nil || c.ca == nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw}))
}

// tlsConfig of the listener. Clients that offer HTTP/1.1 only get it: WAMP and
// rtunnels need its upgrade.
func (c *certs) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.leaf.Load(), nil },
	}
}

// Run renews our certificate before it expires, and takes the operator's new
// one when the file changed, every hour until ctx ends.
func (c *certs) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.refresh(); err != nil {
				c.log.Error("the server's certificate could not be renewed; the old one stays", "err", err)
			}
		}
	}
}

// refresh loads or issues the certificate to show.
func (c *certs) refresh() error {
	switch {
	case c.certFile != "":
		return c.loadOperator()
	case len(c.hosts) == 0:
		return nil
	}
	path := filepath.Join(c.dir, "server.pem")
	if leaf, err := tls.LoadX509KeyPair(path, path); err == nil && c.fits(leaf.Leaf) {
		c.leaf.Store(&leaf)
		return nil
	}
	return c.issue(path)
}

// fits reports whether a certificate still does: ours, for all hosts, not near
// its end.
func (c *certs) fits(leaf *x509.Certificate) bool {
	if leaf.CheckSignatureFrom(c.ca) != nil || c.now().After(leaf.NotAfter.Add(-leafRenew)) {
		return false
	}
	return !slices.ContainsFunc(c.hosts, func(h string) bool { return leaf.VerifyHostname(bracket(h)) != nil })
}

// bracket is how VerifyHostname wants an IPv6 address.
func bracket(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

// loadCA reads ca.pem and ca.key, or makes them where neither exists. One
// without the other is an error: boards in the field trust that CA only.
func (c *certs) loadCA() error {
	certPath, keyPath := filepath.Join(c.dir, "ca.pem"), filepath.Join(c.dir, "ca.key")
	op := "read the CA " + certPath
	certText, certErr := os.ReadFile(certPath)
	keyText, keyErr := os.ReadFile(keyPath)
	if errors.Is(certErr, fs.ErrNotExist) {
		// ca.pem is written last: without it no board has seen this CA.
		return c.makeCA(certPath, keyPath)
	}
	if certErr != nil || keyErr != nil {
		return s4t.Errorf(s4t.Unavailable, op, "restore ca.pem and ca.key from a backup; boards trust only them", "%w", errors.Join(certErr, keyErr))
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err == nil && !pair.Leaf.IsCA {
		err = errors.New("ca.pem is not a CA's certificate")
	}
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, "restore ca.pem and ca.key from a backup; boards trust only them", "%w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return s4t.Errorf(s4t.Invalid, op, "restore ca.pem and ca.key from a backup", "ca.key is not an ECDSA key")
	}
	c.ca, c.caKey = pair.Leaf, key
	return nil
}

// makeCA makes a CA and writes it, the key first.
func (c *certs) makeCA(certPath, keyPath string) error {
	const op = "make the CA"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	serial := newSerial()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "IoTronic CA " + serial.Text(16)[:8], Organization: []string{"Stack4Things"}},
		NotBefore:             epoch(),
		NotAfter:              c.now().Add(caLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	if c.ca, err = x509.ParseCertificate(der); err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	c.caKey = key
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := WriteFile(keyPath, keyPEM, 0o600); err != nil {
		return err
	}
	return WriteFile(certPath, []byte(c.caPEM()), 0o644)
}

// issue makes a certificate for c.hosts and writes it with its key and the CA
// to path.
func (c *certs) issue(path string) error {
	const op = "issue the server's certificate"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	notAfter := c.now().Add(leafLifetime)
	if notAfter.After(c.ca.NotAfter) {
		notAfter = c.ca.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: c.hosts[0]},
		NotBefore:    epoch(),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range c.hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.ca, key.Public(), c.caKey)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	// The CA goes along: a board that joins knows only its fingerprint.
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), []byte(c.caPEM()), keyPEM)
	leaf, err := tls.X509KeyPair(text, text)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	if err := WriteFile(path, text, 0o600); err != nil {
		return err
	}
	c.leaf.Store(&leaf)
	return nil
}

// loadOperator reads the operator's certificate, and puts the CA behind it
// where the file does not have it.
func (c *certs) loadOperator() error {
	op := "read the certificate " + c.certFile
	leaf, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, "check tls.cert and tls.key", "%w", err)
	}
	if c.caFile != "" {
		text, err := os.ReadFile(c.caFile)
		if err != nil {
			return s4t.Errorf(s4t.Invalid, op, "check tls.ca", "%w", err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return s4t.Errorf(s4t.Invalid, op, "check tls.ca", "%s is not PEM", c.caFile)
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return s4t.Errorf(s4t.Invalid, op, "check tls.ca", "%s: %w", c.caFile, err)
		}
		if !slices.ContainsFunc(leaf.Certificate, func(der []byte) bool { return bytes.Equal(der, ca.Raw) }) {
			leaf.Certificate = append(leaf.Certificate, ca.Raw)
		}
		c.ca = ca
	}
	if c.now().After(leaf.Leaf.NotAfter) {
		return s4t.Errorf(s4t.Invalid, op, "renew it", "it expired on %s", leaf.Leaf.NotAfter.Format(time.DateOnly))
	}
	c.leaf.Store(&leaf)
	return nil
}

// newSerial is 127 random bits (RFC 5280 section 4.1.2.2: positive, at most 20
// octets).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "encode a key", "", "%w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
