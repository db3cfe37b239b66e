package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/tunnelagent"
)

// Tunnel agents dial each other over TLS in which both show the certificate that
// they show to boards: each has to be of a CA that boards are told to trust, and of
// the host that the conductor says the other is at. Where TLS ends in front of an
// agent, in a proxy, the ticket alone says who dials.

// peerConfig is the TLS of who dials as another tunnel agent.
func (c *certs) peerConfig() *tls.Config {
	cfg := c.tlsConfig()
	cfg.NextProtos, cfg.ClientAuth, cfg.SessionTicketsDisabled = []string{"http/1.1"}, tls.RequireAnyClientCert, true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return c.verifyPeer(cs.PeerCertificates) }
	return cfg
}

// verifyPeer checks whether a certificate is one of the cloud's. What it is of is
// for the tunnel agent to look at.
func (c *certs) verifyPeer(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("a tunnel agent shows no certificate")
	}
	s := c.shown.Load()
	opts := x509.VerifyOptions{CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, Intermediates: x509.NewCertPool()}
	for _, between := range chain[1:] {
		opts.Intermediates.AddCert(between)
	}
	if s.ca != nil || len(s.next) > 0 {
		opts.Roots = x509.NewCertPool()
		for _, ca := range append(slices.Clone(s.next), s.ca) {
			if ca != nil {
				opts.Roots.AddCert(ca)
			}
		}
	}
	_, err := chain[0].Verify(opts)
	if err != nil && opts.Roots != nil && (s.ca == nil || s.system) {
		opts.Roots = nil
		_, err = chain[0].Verify(opts)
	}
	return err
}

// peerDialer dials other tunnel agents.
type peerDialer struct {
	certs *certs

	mu     sync.Mutex // guards the fields below
	dialer *dial.Dialer
	cas    string // that it trusts
	system bool
}

func newPeerDialer(c *certs, proxy string) (*peerDialer, error) {
	d, err := dial.New(dial.Config{
		Proxy: proxy, Env: func(string) string { return "" }, // a proxy for the way out is none for the way to each other
		Protocol: tunnelagent.PeerProtocol,
		Certificate: func() *tls.Certificate {
			if leaf := c.leaf.Load(); leaf != nil {
				return leaf
			}
			return &tls.Certificate{}
		},
	})
	return &peerDialer{certs: c, dialer: d}, err
}

func (d *peerDialer) dial(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) {
	if err := d.trust(); err != nil {
		return nil, err
	}
	return d.dialer.Dial(ctx, url, rtunnel.Path, rtunnel.SubprotocolPeer, ticket)
}

// trust has the dialer trust what boards are told to now.
func (d *peerDialer) trust() error {
	t := d.certs.trust()
	cas := strings.Join(t.CAs, "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if cas == d.cas && t.SystemRoots == d.system {
		return nil
	}
	if err := d.dialer.Trust([]byte(cas), t.SystemRoots); err != nil {
		return err
	}
	d.cas, d.system = cas, t.SystemRoots
	return nil
}
