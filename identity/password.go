package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/stack4things/s4t"
)

// Cost of one password check: 19 MiB, 2 passes, 1 lane (OWASP's first choice
// for argon2id), 20 to 40 ms of one core. Hashes carry their own parameters,
// so these can be raised at any time.
const (
	memory  = 19 * 1024 // KiB
	passes  = 2
	lanes   = 1
	saltLen = 16
	hashLen = 32

	maxPassword = 1024 // bytes
)

// hasher makes and checks password hashes, a few at a time.
type hasher struct {
	memory uint32 // KiB, of hashes that it makes
	turns  *turns
	dummy  string // a hash that is checked where there is no user, so that time does not tell
}

func newHasher(memory uint32) hasher {
	h := hasher{memory: memory, turns: newTurns()}
	h.dummy = format(phc{memory: memory, passes: passes, lanes: lanes, salt: random(saltLen), hash: random(hashLen)})
	return h
}

// make returns the hash of a new password in PHC form.
func (h hasher) make(ctx context.Context, op string, by asker, password string) (string, error) {
	if len(password) < s4t.MinPassword || len(password) > maxPassword {
		return "", s4t.Errorf(s4t.Invalid, op, "some words that nobody expects together are a good one", "a password has %d to %d bytes", s4t.MinPassword, maxPassword)
	}
	done, err := h.turns.wait(ctx, op, by)
	if err != nil {
		return "", err
	}
	defer done()
	p := phc{memory: h.memory, passes: passes, lanes: lanes, salt: random(saltLen)}
	p.hash = p.compute(password, hashLen)
	return format(p), nil
}

// check reports whether a password belongs to a hash. Without a hash (no such
// user, or one who cannot log in) it takes the same time and says no.
func (h hasher) check(ctx context.Context, op string, by asker, hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	done, err := h.turns.wait(ctx, op, by)
	if err != nil {
		return false, err
	}
	defer done()
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	p, err := parse(hash)
	if err != nil {
		return false, s4t.Errorf(s4t.Internal, op, "", "the user's stored password is damaged")
	}
	return subtle.ConstantTimeCompare(p.compute(password, len(p.hash)), p.hash) == 1 && known, nil
}

// phc is a hash with what it was made with.
type phc struct {
	memory, passes uint32
	lanes          uint8
	salt, hash     []byte
}

func (p phc) compute(password string, n int) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(n))
}

// format writes "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH" (the PHC string
// format, base64 without padding).
func format(p phc) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.lanes, b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

// parse reads it back, with bounds on what a check would cost.
func parse(s string) (phc, error) {
	var p phc
	bad := s4t.Errorf(s4t.Invalid, "read a password hash", "", "it is not in argon2id's PHC form")
	if len(s) > 512 {
		return p, bad
	}
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, bad
	}
	n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes)
	if err != nil || n != 3 || part[3] != fmt.Sprintf("m=%d,t=%d,p=%d", p.memory, p.passes, p.lanes) {
		return p, bad
	}
	if p.memory > 256*1024 || p.passes < 1 || p.passes > 16 || p.lanes < 1 || p.lanes > 16 {
		return p, bad
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(part[4])
	p.hash, err2 = base64.RawStdEncoding.Strict().DecodeString(part[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.salt) > 64 || len(p.hash) < 16 || len(p.hash) > 64 {
		return p, bad
	}
	return p, nil
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return b
}
