package bundle

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"strings"

	"github.com/stack4things/s4t"
)

// signs is what a signature is of, before the digest: a signature of something else
// is none of a bundle.
const signs = "s4t-bundle-1\x00"

// maxKeyFile bounds a file with a key, in bytes.
const maxKeyFile = 64 << 10

// Sign returns the signature of the bundle with a digest, in hex as Pack gives it.
func Sign(key ed25519.PrivateKey, digest string) []byte {
	return ed25519.Sign(key, []byte(signs+digest))
}

// Verify reports whether sig is the signature of the bundle with a digest, by the
// owner of pub. It takes any bytes.
func Verify(pub []byte, digest string, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize &&
		ed25519.Verify(pub, []byte(signs+digest), sig)
}

// GenerateKey makes a key that signs bundles.
func GenerateKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// WriteKey keeps a key in a new file, PEM of PKCS 8 (RFC 5958, RFC 8410), readable by
// its owner only. What is there is not overwritten.
func WriteKey(path string, key ed25519.PrivateKey) error {
	op := "write the key " + path
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return s4t.Errorf(s4t.Conflict, op, "name another file, or move it away", "it exists")
	}
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, "", "%w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	return nil
}

// ReadKey reads a key that WriteKey wrote, or `openssl genpkey -algorithm ed25519`.
// A file that is not there is fs.ErrNotExist.
func ReadKey(path string) (ed25519.PrivateKey, error) {
	op := "read the key " + path
	const hint = "`s4t plugin keygen FILE` makes one"
	f, err := os.Open(path)
	if err != nil {
		return nil, s4t.Errorf(s4t.NotFound, op, hint, "%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "it is no PEM")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "it is no Ed25519 key")
	}
	return key, nil
}

// ParsePublicKey reads a public key: base64 of its 32 bytes, as `s4t plugin show`
// prints it, or PEM.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	const op, hint = "read a public key", "`s4t plugin show` prints that of each version"
	text = strings.TrimSpace(text)
	if len(text) > maxKeyFile {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "it is longer than %d bytes", maxKeyFile)
	}
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) == ed25519.PublicKeySize {
		return raw, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%q is neither base64 of 32 bytes nor PEM", s4t.Line(text, s4t.MaxName))
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	key, ok := any.(ed25519.PublicKey)
	if !ok {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "it is no Ed25519 key")
	}
	return key, nil
}
