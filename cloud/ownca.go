package cloud

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"slices"
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

// The own CAs, by the names that they are kept under.
const (
	presentCA = "ca"
	nextCA    = "next-ca"
)

// ownCA is a CA of our own.
type ownCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// parseCA reads a CA from PEM: one half without the other is an error, for boards in
// the field trust that CA only.
func parseCA(certText, keyText []byte) (*ownCA, error) {
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, err
	}
	if !pair.Leaf.IsCA {
		return nil, errors.New("it is not a CA's certificate")
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("its key is not an ECDSA key")
	}
	return &ownCA{pair.Leaf, key}, nil
}

// newCA makes a CA.
func newCA(now time.Time) (*ownCA, error) {
	const op = "make the CA"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	serial := newSerial()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "IoTronic CA " + serial.Text(16)[:8], Organization: []string{"Stack4Things"}},
		NotBefore:             epoch(),
		NotAfter:              now.Add(caLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	return &ownCA{cert, key}, nil
}

// certPEM is a certificate in PEM.
func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// serverCert is the certificate in path where it still does, else a new one.
func (ca *ownCA) serverCert(path string, hosts []string, now time.Time) (*tls.Certificate, error) {
	if leaf, err := tls.LoadX509KeyPair(path, path); err == nil && ca.fits(leaf.Leaf, hosts, now) {
		return &leaf, nil
	}
	return ca.issue(path, hosts, now)
}

// fits reports whether a certificate still does: ours, for all hosts, not near
// its end, unless the CA is near its own.
func (ca *ownCA) fits(leaf *x509.Certificate, hosts []string, now time.Time) bool {
	if leaf.CheckSignatureFrom(ca.cert) != nil || now.After(leaf.NotAfter.Add(-leafRenew)) && leaf.NotAfter.Before(ca.cert.NotAfter) {
		return false
	}
	return !slices.ContainsFunc(hosts, func(h string) bool { return leaf.VerifyHostname(bracket(h)) != nil })
}

// bracket is how VerifyHostname wants an IPv6 address.
func bracket(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

// issue makes a certificate for hosts and writes it with its key and the CA to
// path.
func (ca *ownCA) issue(path string, hosts []string, now time.Time) (*tls.Certificate, error) {
	const op = "issue the server's certificate"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	der, err := ca.sign(key.Public(), hosts, now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	// The CA goes along: a board that joins knows only its fingerprint.
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), []byte(certPEM(ca.cert)), keyPEM)
	leaf, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	if err := WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return &leaf, nil
}

// sign makes a certificate for hosts and the key of a server, in DER.
func (ca *ownCA) sign(key any, hosts []string, now time.Time) ([]byte, error) {
	notAfter := now.Add(leafLifetime)
	if notAfter.After(ca.cert.NotAfter) {
		notAfter = ca.cert.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: hosts[0]},
		NotBefore:    epoch(),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, key, ca.key)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "issue the server's certificate", "", "%w", err)
	}
	return der, nil
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
