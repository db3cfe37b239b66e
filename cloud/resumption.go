package cloud

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// resumeDay is how long one key encrypts the tickets of TLS. The one before it still
// opens them: who comes back within a day resumes, who stays away for two does a
// full handshake.
const resumeDay = 24 * time.Hour

// resumption lets a board that comes back resume TLS. The keys of its tickets follow from
// the private key of the certificate that is shown and from the day: nothing is
// kept, a process that was killed opens what it gave before, so do others that show
// the same certificate, and with another certificate all tickets are void. Who had
// the private key could be taken for the cloud without them too, and past sessions
// stay closed to him: each has an exchange of keys of its own (RFC 8446, section
// 2.2, psk_dhe_ke).
type resumption struct {
	now  func() time.Time
	leaf *atomic.Pointer[tls.Certificate]
	keys atomic.Pointer[dayKeys]
}

// dayKeys are those of one day and one certificate.
type dayKeys struct {
	day    int64
	leaf   *tls.Certificate
	config tls.Config // which has the keys; nothing else of it is used
}

// use has a server give tickets, and take them. In TLS 1.2 a ticket has the keys of the
// session that it was given in, so who had the private key later could read that:
// there it is of no length (RFC 5077, section 3.3), and nothing is resumed.
func (r *resumption) use(conf *tls.Config) {
	conf.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		if cs.Version < tls.VersionTLS13 {
			return nil, nil
		}
		return r.present().EncryptTicket(cs, s)
	}
	conf.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		if cs.Version < tls.VersionTLS13 {
			return nil, nil
		}
		return r.present().DecryptTicket(ticket, cs)
	}
}

// present is what has the keys of now. Two that make them at once make the same.
func (r *resumption) present() *tls.Config {
	day, leaf := r.now().Unix()/int64(resumeDay/time.Second), r.leaf.Load()
	if k := r.keys.Load(); k != nil && k.day == day && k.leaf == leaf {
		return &k.config
	}
	k := &dayKeys{day: day, leaf: leaf}
	if today, err := dayKey(leaf, day); err == nil {
		yesterday, _ := dayKey(leaf, day-1) // as today's
		k.config.SetSessionTicketKeys([][32]byte{today, yesterday})
	} // else it has keys of its own, which others do not know
	r.keys.Store(k)
	return &k.config
}

// dayKey is the key of a day.
func dayKey(leaf *tls.Certificate, day int64) (key [32]byte, err error) {
	secret, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return key, err
	}
	shown := sha256.Sum256(leaf.Certificate[0])
	b, err := hkdf.Key(sha256.New, secret, binary.BigEndian.AppendUint64(shown[:], uint64(day)), "s4t tls tickets 1", len(key))
	copy(key[:], b)
	return key, err
}
