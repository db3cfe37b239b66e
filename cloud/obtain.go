package cloud

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// A process without the conductor has no CA. It makes a key, which never leaves
// it, and has a conductor sign for the names that it shows, over the queue: who may
// send there is a process of the cloud.

// asks reports whether the certificate comes from a conductor.
func (c *certs) asks(t TLS) bool { return c.ask != nil && !t.Off && t.Cert == "" }

// askTimeout bounds one question for a certificate.
const askTimeout = 5 * time.Second

// obtain asks for a certificate. The first time it waits for a conductor for as
// long as it takes, and says so in the log: it holds mu, which nobody else wants
// then.
func (c *certs) obtain(ctx context.Context, t TLS) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s4t.Errorf(s4t.Internal, "make a key", "", "%w", err)
	}
	req, err := newRequest(key, c.hosts)
	if err != nil {
		return err
	}
	first := c.leaf.Load() == nil
	began, said := time.Now(), time.Now()
	var reply wire.CertificateReply
	for wait := minProbe; ; wait = min(2*wait, maxProbe) {
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		reply, err = c.ask(ask, wire.CertificateRequest{Request: req})
		cancel()
		kind := s4t.KindOf(err)
		if err == nil || !first || kind != s4t.Unavailable && kind != s4t.Timeout && kind != s4t.NotFound { // NotFound: an older conductor
			break
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			c.log.Warn("still starting", "waits_for", "a certificate from the conductor", "since", time.Since(began).Round(time.Second), "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	if err != nil {
		return err
	}
	leaf, s, err := readReply(key, reply)
	if err != nil {
		return s4t.Errorf(s4t.Internal, "use the certificate that the conductor made", "", "%w", err)
	}
	c.tls = t
	c.leaf.Store(leaf)
	c.shown.Store(s)
	return nil
}

// newRequest makes a request for hosts, in DER.
func newRequest(key *ecdsa.PrivateKey, hosts []string) ([]byte, error) {
	tmpl := &x509.CertificateRequest{}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "ask for a certificate", "", "%w", err)
	}
	return der, nil
}

// readReply is what a process shows, and whom its clients are to trust.
func readReply(key *ecdsa.PrivateKey, reply wire.CertificateReply) (*tls.Certificate, *shown, error) {
	leaf, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(reply.CA)
	if err != nil {
		return nil, nil, err
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return nil, nil, err
	}
	s := &shown{ca: ca, system: reply.Trust.SystemRoots}
	for _, text := range reply.Trust.CAs {
		block, _ := pem.Decode([]byte(text))
		if block == nil || bytes.Equal(block.Bytes, ca.Raw) {
			continue
		}
		next, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		s.next = append(s.next, next)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: key, Leaf: leaf}, s, nil
}

// signFor answers a process that asks.
func (c *certs) signFor(ctx context.Context, req wire.CertificateRequest) (wire.CertificateReply, error) {
	const op = "sign the certificate of a process"
	csr, err := x509.ParseCertificateRequest(req.Request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return wire.CertificateReply{}, s4t.Errorf(s4t.Invalid, op, "", "%w", err)
	}
	hosts := csr.DNSNames
	for _, ip := range csr.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	if len(hosts) == 0 || len(hosts) > wire.MaxCertificateHosts || strings.Contains(strings.Join(csr.DNSNames, " "), "*") {
		return wire.CertificateReply{}, s4t.Errorf(s4t.Invalid, op, "", "it is for %d names, and 1 to %d without * can be signed", len(hosts), wire.MaxCertificateHosts)
	}
	c.mu.Lock()
	t := c.tls
	c.mu.Unlock()
	if t.Off || t.Cert != "" || c.cas == nil {
		return wire.CertificateReply{}, s4t.Errorf(s4t.Conflict, op, "give that process tls.cert and tls.key, or --tls off, as the conductor has it", "the conductor shows no certificate of iotronic's own CA")
	}
	ca, err := c.cas.load(ctx, presentCA)
	if err != nil {
		return wire.CertificateReply{}, err
	}
	der, err := ca.sign(csr.PublicKey, hosts, c.now())
	if err != nil {
		return wire.CertificateReply{}, err
	}
	c.log.Info("signed the certificate of a process", "hosts", hosts)
	return wire.CertificateReply{Certificate: der, CA: ca.cert.Raw, Trust: c.trust()}, nil
}
