package lightningrod

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

// A board trusts the CA of its identity, which is never rewritten, and what the
// cloud has announced over the control channel since: the CA of the certificate
// that it shows, and the one that it is going to show. That is a file of its own,
// written when it changes: a board that lost it may have to be joined again.

// Bounds of what a board takes of an announcement.
const (
	maxTrustCAs = 4
	maxTrustCA  = 16 << 10 // of one, in bytes
)

// savedTrust is trust.json: the sum is of the bytes of Trust.
type savedTrust struct {
	Sum   string          `json:"sha256"`
	Trust json.RawMessage `json:"trust"`
}

// checkTrust says what is wrong with an announcement.
func checkTrust(t wire.Trust) error {
	if len(t.CAs) > maxTrustCAs {
		return errors.New("it names too many CAs")
	}
	for _, ca := range t.CAs {
		if len(ca) > maxTrustCA || !isPEM(ca) {
			return errors.New("a CA is not a certificate in PEM")
		}
	}
	return nil
}

// announcedTrust reads what the cloud announced last; nothing where it never
// did. damage says why a file that is there was not used.
func (d stateDir) announcedTrust() (t wire.Trust, damage string) {
	b, err := d.read(trustFile)
	if errors.Is(err, fs.ErrNotExist) {
		return t, ""
	}
	var s savedTrust
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil {
		if sum := sha256.Sum256(s.Trust); s.Sum != hex.EncodeToString(sum[:]) {
			err = errors.New("its checksum does not match")
		}
	}
	if err == nil {
		err = json.Unmarshal(s.Trust, &t)
	}
	if err == nil {
		err = checkTrust(t)
	}
	if err != nil {
		return wire.Trust{}, "what the cloud announced of its certificate is damaged (" + s4t.Line(err.Error(), 100) + ")"
	}
	return t, ""
}

func (d stateDir) saveTrust(t wire.Trust) error {
	raw := wire.Encode(t)
	sum := sha256.Sum256(raw)
	return d.write(trustFile, wire.Encode(savedTrust{Sum: hex.EncodeToString(sum[:]), Trust: raw}))
}

// trust says whom a board believes: the cloud's CA, or the one of the
// fingerprint as long as a proxy that re-signs TLS hid it, what the cloud
// announced since, and the extra CA.
func (i Identity) trust(t wire.Trust, cfg *dial.Config) {
	cfg.CA, cfg.SystemRoots = i.roots(t)
	cfg.Fingerprint, cfg.ExtraCA = i.Fingerprint, []byte(i.ExtraCA)
}

// roots are the CAs that a board believes to be the cloud's, in PEM, and whether
// its system's count too.
func (i Identity) roots(t wire.Trust) (ca []byte, system bool) {
	var b bytes.Buffer
	for _, text := range append([]string{i.CA}, t.CAs...) {
		if text != "" {
			b.WriteString(strings.TrimRight(text, "\n") + "\n")
		}
	}
	return b.Bytes(), t.SystemRoots || i.CA == "" && i.Fingerprint == ""
}

// trusts are the names of those CAs, as [s4t.BoardInfo] has them. The system's
// roots are named only where the system has some.
func (i Identity) trusts(t wire.Trust) []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	ca, system := i.roots(t)
	add(i.Fingerprint)
	for {
		var block *pem.Block
		if block, ca = pem.Decode(ca); block == nil {
			break
		}
		sum := sha256.Sum256(block.Bytes)
		add(hex.EncodeToString(sum[:]))
	}
	if system {
		if pool, err := x509.SystemCertPool(); err == nil && !pool.Equal(x509.NewCertPool()) {
			add(s4t.SystemRoots)
		}
	}
	return names
}

// believe takes an announcement of the cloud. Nothing announced changes nothing:
// an older cloud announces nothing.
func (e *Engine) believe(t wire.Trust) {
	if len(t.CAs) == 0 && !t.SystemRoots {
		return
	}
	e.mu.Lock()
	known := reflect.DeepEqual(t, e.trust) && e.trustSaved
	e.mu.Unlock()
	if known {
		return
	}
	err := checkTrust(t)
	if err == nil {
		ca, system := e.id.roots(t)
		err = e.retrust(ca, system)
	}
	if err != nil {
		e.cfg.Log.Error("the cloud announced a certificate that is not understood; the board trusts what it did", "err", err)
		return
	}
	err = e.dir.saveTrust(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trust, e.trustSaved = t, err == nil
	if e.losing = ""; err != nil {
		e.losing = err.Error() + "; after a restart the board does not trust what the cloud announced of its certificate"
	}
}

// recall takes what the cloud announced to an earlier run.
func (e *Engine) recall() {
	t, damage := e.dir.announcedTrust()
	if damage != "" {
		e.cfg.Log.Warn("it is asked for again where the cloud can be reached", "err", damage)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trust, e.trustSaved = t, len(t.CAs) > 0 || t.SystemRoots
}

// trusting names whom the board will believe after a restart, too.
func (e *Engine) trusting() []string {
	e.mu.Lock()
	t, saved := e.trust, e.trustSaved
	e.mu.Unlock()
	if !saved {
		t = wire.Trust{}
	}
	return e.id.trusts(t)
}
