package rtunnel

import (
	crand "crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
)

// keys makes masking keys that nobody on the path can predict (RFC 6455,
// sections 5.3 and 10.3): ChaCha8 with a seed of the system's. It is not safe
// for concurrent use.
type keys struct{ rng *rand.ChaCha8 }

func newKeys() *keys {
	var seed [32]byte
	crand.Read(seed[:])
	return &keys{rand.NewChaCha8(seed)}
}

func (k *keys) next() (key [4]byte) {
	binary.LittleEndian.PutUint32(key[:], uint32(k.rng.Uint64()))
	return key
}

// maskBlock is the length of the repeated key that long payloads are XORed
// with in one call: it stays in the level-1 cache, and is a multiple of every
// vector width.
const maskBlock = 512

// mask XORs p with key (RFC 6455, section 5.3). Masking twice gives p back.
func mask(p []byte, key [4]byte) { maskTo(p, p, key) }

// maskTo writes src, XORed with key, to dst, which is as long and either the
// same or elsewhere.
func maskTo(dst, src []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	if len(src) >= 256 {
		// The assembly of XORBytes is worth the expanding of the key.
		var block [maskBlock]byte
		b := block[:min(len(src)&^7, maskBlock)]
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], k)
		}
		for len(src) >= len(b) {
			subtle.XORBytes(dst, src, b)
			dst, src = dst[len(b):], src[len(b):]
		}
		if n := len(src) &^ 7; n > 0 {
			subtle.XORBytes(dst, src, b[:n])
			dst, src = dst[n:], src[n:]
		}
	}
	for len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^k)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ byte(k>>(8*i))
	}
}
