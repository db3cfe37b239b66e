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
func mask(p []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	if k == 0 {
		return
	}
	k |= k << 32
	if len(p) >= 256 {
		// The assembly of XORBytes is worth the expanding of the key.
		var block [maskBlock]byte
		b := block[:min(len(p)&^7, maskBlock)]
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], k)
		}
		for len(p) >= len(b) {
			subtle.XORBytes(p, p, b)
			p = p[len(b):]
		}
		if n := len(p) &^ 7; n > 0 {
			subtle.XORBytes(p, p, b[:n])
			p = p[n:]
		}
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(k >> (8 * i))
	}
}
