package resume

import (
	"math/bits"
	"sync"
)

// ring is a queue of bytes that grows as it is filled. When it is empty its buffer
// is another's.
type ring struct {
	buf  []byte // its length is a power of two
	from int    // where the first byte is
	n    int    // how many there are
}

const minRing = 4 << 10

// spare are buffers that no ring uses, by the binary logarithm of their size.
var spare [bits.UintSize]sync.Pool

// take returns a buffer.
func take(size int) []byte {
	if b, ok := spare[bits.Len(uint(size))-1].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, size)
}

// give gives one back.
func give(b []byte) {
	if len(b) > 0 {
		spare[bits.Len(uint(len(b)))-1].Put(&b)
	}
}

// put appends.
func (r *ring) put(p []byte) {
	if r.n+len(p) > len(r.buf) {
		size := max(len(r.buf), minRing)
		for size < r.n+len(p) {
			size *= 2
		}
		buf := take(size)
		r.copyTo(buf[:r.n], 0)
		give(r.buf)
		r.buf, r.from = buf, 0
	}
	at := (r.from + r.n) & (len(r.buf) - 1)
	k := copy(r.buf[at:], p)
	copy(r.buf, p[k:])
	r.n += len(p)
}

// copyTo fills p with the bytes from the one at offset on; there are enough.
func (r *ring) copyTo(p []byte, offset int) {
	if len(p) == 0 {
		return
	}
	at := (r.from + offset) & (len(r.buf) - 1)
	k := copy(p, r.buf[at:])
	copy(p[k:], r.buf)
}

// discard forgets the first n bytes.
func (r *ring) discard(n int) {
	r.n -= n
	if r.n == 0 {
		give(r.buf)
		r.buf, r.from = nil, 0
		return
	}
	r.from = (r.from + n) & (len(r.buf) - 1)
}
