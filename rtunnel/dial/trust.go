package dial

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// trust is whom a Dialer believes at a time. Its values are not changed: a new
// one takes their place.
type trust struct {
	pinned *x509.CertPool // of CA and ExtraCA; nil: neither was given
	ca     bool           // CA was given
	system bool           // what the system trusts, besides CA
}

// pins reports whether anything but the system's roots is trusted as the cloud.
func (t trust) pins(fingerprint string) bool { return t.ca || fingerprint != "" }

// Trust changes [Config.CA] and [Config.SystemRoots] for the handshakes that
// begin from now on. Where it fails, nothing has changed.
func (d *Dialer) Trust(ca []byte, systemRoots bool) error {
	t := trust{ca: len(ca) > 0, system: systemRoots}
	for _, given := range []struct {
		what string
		text []byte
	}{{"the CA", ca}, {"the extra CA", d.cfg.ExtraCA}} {
		if len(given.text) == 0 {
			continue
		}
		if t.pinned == nil {
			t.pinned = x509.NewCertPool()
		}
		if !t.pinned.AppendCertsFromPEM(given.text) {
			return s4t.Errorf(s4t.Invalid, "read "+given.what, "give a PEM file with at least one certificate", "no certificate found in it")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trusted = t
	clear(d.tls)
	return nil
}

// loadExtra makes the system's roots with the extra CA, which [Dialer.Trust]
// has found to be one.
func (d *Dialer) loadExtra() {
	if len(d.cfg.ExtraCA) == 0 {
		return
	}
	system, err := x509.SystemCertPool()
	if err != nil { // a board without roots of its own
		system = x509.NewCertPool()
	}
	system.AppendCertsFromPEM(d.cfg.ExtraCA)
	d.extra = system
}

// verify checks the server's chain against the pinned CAs, then against the
// system's roots where they are trusted too, and the host name.
func (d *Dialer) verify(op, host string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return s4t.Errorf(s4t.Unavailable, op, "check the address", "the server sent no certificate")
	}
	d.mu.Lock()
	t := d.trusted
	d.mu.Unlock()
	leaf := chain[0]
	pinned, err := d.verifyPinned(t.pinned, chain)
	if err != nil && t.system {
		// By the local clock: that these roots are trusted for ever was not said.
		_, serr := leaf.Verify(x509.VerifyOptions{Roots: d.extra, Intermediates: poolOf(chain[1:]), CurrentTime: d.cfg.Now(), KeyUsages: serverAuth})
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown || serr == nil {
			if _, none := errors.AsType[x509.SystemRootsError](serr); !none {
				err = serr
			}
		}
	}
	if err == nil { // who issued it comes first: another's certificate is no wrong name of the cloud's
		err = leaf.VerifyHostname(host)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err} // as crypto/tls itself does
	}
	if pinned != nil {
		d.mu.Lock()
		d.ca = pinned
		d.mu.Unlock()
	}
	return nil
}

var serverAuth = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

// verifyPinned checks a chain against roots and the CA of the fingerprint, which
// it returns where the server sent it. A board's clock may say 1970 or 2040, so a
// local time outside the chain's validity is moved to its nearer end: a pinned CA
// is trusted until it is replaced, not until a date that the board cannot know.
func (d *Dialer) verifyPinned(roots *x509.CertPool, chain []*x509.Certificate) (pinned *x509.Certificate, err error) {
	if roots == nil {
		roots = x509.NewCertPool()
	} else {
		roots = roots.Clone()
	}
	leaf := chain[0]
	for _, c := range chain[1:] {
		sum := sha256.Sum256(c.Raw)
		if c.IsCA && d.cfg.Fingerprint != "" && strings.EqualFold(hex.EncodeToString(sum[:]), d.cfg.Fingerprint) {
			pinned = c
			roots.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: poolOf(chain[1:]), CurrentTime: clamp(d.cfg.Now(), leaf.NotBefore, leaf.NotAfter), KeyUsages: serverAuth,
	})
	if err != nil {
		return nil, err
	}
	return pinned, nil
}

// clamp moves t into [from, to].
func clamp(t, from, to time.Time) time.Time {
	if t.Before(from) {
		return from
	}
	if t.After(to) {
		return to
	}
	return t
}
