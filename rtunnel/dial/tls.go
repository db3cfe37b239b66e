package dial

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// tlsConfig returns the client's side for host. With the system's roots only
// crypto/tls verifies as usual; with a pinned CA verify does. d.mu is held.
func (d *Dialer) tlsConfig(op, host string) *tls.Config {
	cfg := &tls.Config{
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // the upgrade is an HTTP/1.1 affair
		Time:       d.cfg.Now,
	}
	if !d.trusted.pins(d.cfg.Fingerprint) {
		cfg.RootCAs = d.extra
		return cfg
	}
	cfg.InsecureSkipVerify = true // replaced, not skipped: VerifyConnection runs in every handshake
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return d.verify(op, host, cs.PeerCertificates) }
	return cfg
}

// tlsFor returns the tlsConfig for t. All connections to it share one, but that
// those with a ticket offer no protocol: so the cloud tells an rtunnel, which it
// lets in at once, from a board that wants a session. What the last handshake left
// to resume with is kept with it, in memory: what is verified is verified again of
// the certificates of then, and whom to trust anew forgets it (see [Dialer.Trust]).
func (d *Dialer) tlsFor(op string, t target, u use) *tls.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := tlsKey{t.url, u}
	cfg := d.tls[key]
	if cfg == nil {
		if len(d.tls) >= maxPaths {
			clear(d.tls)
		}
		cfg = d.tlsConfig(op, t.host)
		cfg.ClientSessionCache = &lastSession{}
		switch {
		case d.cfg.Protocol != "":
			cfg.NextProtos = []string{d.cfg.Protocol, "http/1.1"}
		case u == tunnel:
			cfg.NextProtos = nil
		case u == control && d.cfg.Classical:
			cfg.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
		}
		if show := d.cfg.Certificate; show != nil {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show(), nil }
		}
		d.tls[key] = cfg
	}
	return cfg
}

// tlsKey is what connections share a TLS configuration by.
type tlsKey struct {
	url string
	use use
}

// lastSession keeps the newest ticket of one server. Those of TLS 1.2 are not kept:
// they resume without an exchange of keys, so that who has the server's key later
// can read what was said.
type lastSession struct {
	last atomic.Pointer[tls.ClientSessionState]
}

// Get implements [tls.ClientSessionCache].
func (l *lastSession) Get(string) (*tls.ClientSessionState, bool) {
	s := l.last.Load()
	return s, s != nil
}

// Put implements [tls.ClientSessionCache]; nil takes away.
func (l *lastSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil && versionOf(s) != tls.VersionTLS13 {
		s = nil
	}
	l.last.Store(s)
}

// versionOf is the version of TLS that a session can be resumed in; 0: it cannot be told.
func versionOf(s *tls.ClientSessionState) uint16 {
	_, state, err := s.ResumptionState()
	if err != nil || state == nil {
		return 0
	}
	text, err := state.Bytes() // begins with it
	if err != nil || len(text) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(text)
}

// forget has the next handshake be a full one: this one failed, which may be for
// what it resumed.
func forget(cfg *tls.Config) {
	if cfg.ClientSessionCache != nil {
		cfg.ClientSessionCache.Put("", nil)
	}
}

// use is what a connection is for.
type use byte

const (
	other   use = iota
	control     // a WebSocket without a ticket: a session
	tunnel      // one with: an rtunnel
)

// tlsError says what went wrong in a handshake, and who is to blame where that
// is certain.
func tlsError(op, host string, err error) error {
	e := &s4t.Error{Op: op, Kind: s4t.Unavailable, Err: err}
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		diagnose(wire.TLSSilent, e)
		e.Kind, e.Msg, e.Hint = s4t.Timeout, "the TLS handshake does not end", "check the path, or the server's load"
	case errors.Is(err, context.Canceled):
		e.Msg = "cancelled"
	case errors.As(err, &record):
		diagnose(wire.NotTLS, e)
		e.Msg, e.Hint = "the server does not speak TLS", "check the TCP port, or use http:// if TLS is off there"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), isReset(err):
		diagnose(wire.TLSCut, e)
		e.Msg, e.Hint = "the connection was cut during the TLS handshake", "a firewall may block TLS here, or the server is restarting"
	default:
		certificateError(e, host, err)
	}
	return e
}

// turnedAway reports whether the server sent a board away in plain HTTP before
// TLS, as a cloud does that has no room for it, and for how long.
func turnedAway(err error, c *progressConn) (after time.Duration, ok bool) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || !bytes.HasPrefix(c.said(), []byte("HTTP/")) {
		return 0, false
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	head, err := readHead(bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(c.said())), c)))
	if err != nil || head.code != 503 {
		return 0, false
	}
	after = retryAfter(head)
	return after, after > 0
}

// certificateError fills e for a certificate that was not accepted.
func certificateError(e *s4t.Error, host string, err error) {
	e.Kind = s4t.Unauthenticated
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		leaf := unknown.Cert // of any place in the chain
		if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(v.UnverifiedCertificates) > 0 {
			leaf = v.UnverifiedCertificates[0]
		}
		issuer := "someone unknown"
		if leaf != nil {
			issuer = leaf.Issuer.String()
		}
		diagnose(unknownIssuer(host, leaf), e)
		e.Msg = "its certificate is issued by " + quote(issuer) + ", which is not the cloud's CA"
		e.Hint = "if TLS is re-signed by a proxy on this network, have an exception made for " + host + ", or join with its CA (--ca FILE)"
		return
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		diagnose(wire.HostName, e)
		e.Msg = "its certificate is for " + strings.Join(namesOf(name.Certificate), ", ") + ", not for " + host
		e.Hint = "use one of these names, or start the cloud with --url https://" + host + ":PORT"
		return
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		diagnose(wire.CertificateExpired, e)
		e.Msg = "its certificate is valid from " + invalid.Cert.NotBefore.UTC().Format(time.DateOnly) + " to " + invalid.Cert.NotAfter.UTC().Format(time.DateOnly) + " only"
		e.Hint = "check this machine's clock"
		return
	}
	diagnose(wire.TLSFails, e)
	e.Kind = s4t.Unavailable
	e.Msg = "the TLS handshake fails: " + firstLine(err.Error())
}

// namesOf lists what a certificate is good for, bounded.
func namesOf(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return []string{"nobody"}
	}
	return names[:min(len(names), 8)]
}

// caName begins the common name of every CA that IoTronic makes.
const caName = "IoTronic CA"

// unknownIssuer tells the reasons for a CA that is not trusted apart, as far
// as the server's certificate does.
func unknownIssuer(host string, c *x509.Certificate) string {
	switch {
	case c == nil:
		return wire.TLSFails
	case strings.HasPrefix(c.Issuer.CommonName, caName):
		return wire.CAReplaced
	case c.VerifyHostname(host) == nil:
		return wire.TLSResigned
	}
	return wire.WrongCertificate
}

// proxyTLS is for the connection to an https:// proxy: the system's roots, and
// the extra CA.
func (d *Dialer) proxyTLS(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: d.extra, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}
