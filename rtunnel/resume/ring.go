package resume

// ring is a queue of bytes that grows as it is filled, and holds nothing when it
// is empty.
type ring struct {
	buf  []byte // its length is a power of two
	from int    // where the first byte is
	n    int    // how many there are
}

const minRing = 4 << 10

// put appends.
func (r *ring) put(p []byte) {
	if r.n+len(p) > len(r.buf) {
		size := max(len(r.buf), minRing)
		for size < r.n+len(p) {
			size *= 2
		}
		buf := make([]byte, size)
		r.copyTo(buf[:r.n], 0)
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
		r.buf, r.from = nil, 0
		return
	}
	r.from = (r.from + n) & (len(r.buf) - 1)
}
