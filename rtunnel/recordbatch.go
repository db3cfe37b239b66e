package rtunnel

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
)

// recordBatch lies between TLS and TCP. crypto/tls reads and writes one record of
// 16 KiB at a time; a recordBatch makes one system call of up to 320 KiB of many of
// them. Like a Conn it holds no buffer while it waits. It takes one reader; writes
// are serialised by TLS.
type recordBatch struct {
	net.Conn

	raw     syscall.RawConn // nil where reading by descriptor cannot be had
	tryRead func(fd uintptr) bool
	buf     *buffer // read ahead: buf.b[r:w]
	r, w    int
	class   int
	readN   int
	readErr error
	eager   bool   // reading never waits; see Conn.ParkEagerly
	record  record // that TLS reads now

	mu     sync.Mutex // guards the fields below
	corked bool       // between cork and uncork
	kept   *buffer
	sent   int // bytes of it that a try has written
	n      int // bytes in it
	out    rawWriter
}

// BatchRecords wraps c, a TCP connection that TLS is about to run over, so that it
// makes few system calls: tls.Server(rtunnel.BatchRecords(c), config). A [Conn]
// over that TLS connection finds it.
func BatchRecords(c net.Conn) net.Conn {
	b := &recordBatch{Conn: c, out: rawWriter{nc: c}}
	b.initRaw()
	return b
}

// BatchListener wraps every connection that l accepts with [BatchRecords].
func BatchListener(l net.Listener) net.Listener { return batchListener{l} }

type batchListener struct{ net.Listener }

// Accept implements net.Listener.
func (l batchListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return BatchRecords(c), nil
}

// batchUnder returns the recordBatch under a TLS connection, nil if there is none.
func batchUnder(c net.Conn) *recordBatch {
	for {
		if b, ok := c.(*recordBatch); ok {
			return b
		}
		u, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = u.NetConn()
	}
}

// NetConn returns the connection underneath.
func (b *recordBatch) NetConn() net.Conn { return b.Conn }

// Read implements net.Conn. It returns no more than is left of a TLS record, or
// of its header: crypto/tls needs no more, but takes what it gets into a buffer
// that it keeps for as long as it lives.
func (b *recordBatch) Read(p []byte) (int, error) {
	if b.raw == nil || len(p) == 0 {
		return b.Conn.Read(p)
	}
	if b.buf == nil {
		if err := b.readAhead(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.record.next(b.buf.b[b.r:b.w]))
	b.record.took(p[:n])
	if b.r += n; b.r == b.w {
		giveBack(b.buf)
		b.buf = nil
	}
	return n, nil
}

// record is a place in a stream of TLS records (RFC 8446, section 5.1).
type record struct {
	head [5]byte // of the record, as far as it has come
	n    int     // bytes in it
	left int     // of the body
}

// next returns what of p belongs to the header, or the body, at this place.
func (r *record) next(p []byte) []byte {
	if r.left > 0 {
		return p[:min(len(p), r.left)]
	}
	return p[:min(len(p), len(r.head)-r.n)]
}

// took moves on by p, which is of what next returned.
func (r *record) took(p []byte) {
	if r.left > 0 {
		r.left -= len(p)
		return
	}
	r.n += copy(r.head[r.n:], p)
	if r.n == len(r.head) {
		r.n, r.left = 0, int(binary.BigEndian.Uint16(r.head[3:]))
	}
}

// took notes a read of n bytes.
func (b *recordBatch) took(n int) {
	b.r, b.w = 0, n
	switch {
	case n == len(b.buf.b) && b.class < topClass:
		b.class++
	case n < len(b.buf.b)/64 && b.class > 0:
		b.class--
	}
}

// Write implements net.Conn. Between cork and uncork it only keeps the bytes.
func (b *recordBatch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.corked {
		if err := b.flush(); err != nil { // what a try has left
			return 0, err
		}
		return len(p), b.out.write(p)
	}
	if b.kept != nil && len(b.kept.b)-b.n < len(p) {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	if b.kept == nil {
		if len(p) > bufferSizes[topClass]/2 {
			return len(p), b.out.write(p)
		}
		b.kept = lend(topClass)
	}
	b.n += copy(b.kept.b[b.n:], p)
	return len(p), nil
}

// flush writes what was kept. The caller holds mu.
func (b *recordBatch) flush() error {
	if b.kept == nil {
		return nil
	}
	err := b.out.write(b.kept.b[b.sent:b.n])
	b.empty()
	return err
}

// empty gives the buffer back. The caller holds mu.
func (b *recordBatch) empty() {
	giveBack(b.kept)
	b.kept, b.sent, b.n = nil, 0, 0
}

// tryFlush writes what was kept as far as the kernel takes it at once, and
// reports whether that was all.
func (b *recordBatch) tryFlush() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		return true, nil
	}
	n, err := b.out.try(b.kept.b[b.sent:b.n])
	if err != nil {
		b.empty()
		return false, err
	}
	if b.sent += n; b.sent < b.n {
		return false, nil
	}
	b.empty()
	return true, nil
}

// tryUncork is uncork that does not wait; the rest is for a later flush.
func (b *recordBatch) tryUncork() (bool, error) {
	b.mu.Lock()
	b.corked = false
	b.mu.Unlock()
	return b.tryFlush()
}

// cork makes writes wait for uncork.
func (b *recordBatch) cork() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = true
}

// uncork writes what was kept since cork.
func (b *recordBatch) uncork() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = false
	return b.flush()
}
