package rtunnel

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
)

// bulk lies between TLS and TCP. crypto/tls reads and writes one record of 16
// KiB at a time; bulk makes one system call of up to 320 KiB of many of them.
// Like a Conn it holds no buffer while it waits. It takes one reader; writes
// are serialised by TLS.
type bulk struct {
	net.Conn

	raw     syscall.RawConn // nil where reading by descriptor cannot be had
	tryRead func(fd uintptr) bool
	buf     *buffer // read ahead: buf.b[r:w]
	r, w    int
	class   int
	readN   int
	readErr error
	record  record // that TLS reads now

	mu     sync.Mutex // guards the fields below
	gather bool       // between cork and uncork
	out    *buffer
	sent   int // bytes of it that a try has written
	n      int // bytes in it

	push pusher
}

// Bulk wraps c, a TCP connection that TLS is about to run over, so that it
// makes few system calls: tls.Server(rtunnel.Bulk(c), config). A [Conn] over
// that TLS connection finds it.
func Bulk(c net.Conn) net.Conn {
	b := &bulk{Conn: c, push: pusher{nc: c}}
	b.initRaw()
	return b
}

// BulkListener wraps every connection that l accepts with [Bulk].
func BulkListener(l net.Listener) net.Listener { return bulkListener{l} }

type bulkListener struct{ net.Listener }

// Accept implements net.Listener.
func (l bulkListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Bulk(c), nil
}

// bulkUnder returns the bulk under a TLS connection, nil if there is none.
func bulkUnder(c net.Conn) *bulk {
	for {
		if b, ok := c.(*bulk); ok {
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
func (b *bulk) NetConn() net.Conn { return b.Conn }

// Read implements net.Conn. It returns no more than is left of a TLS record, or
// of its header: crypto/tls needs no more, but takes what it gets into a buffer
// that it keeps for as long as it lives.
func (b *bulk) Read(p []byte) (int, error) {
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
func (b *bulk) took(n int) {
	b.r, b.w = 0, n
	switch {
	case n == len(b.buf.b) && b.class < topClass:
		b.class++
	case n < len(b.buf.b)/64 && b.class > 0:
		b.class--
	}
}

// Write implements net.Conn. Between cork and uncork it only keeps the bytes.
func (b *bulk) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gather {
		if err := b.flush(); err != nil { // what a try has left
			return 0, err
		}
		return len(p), b.push.all(p)
	}
	if b.out != nil && len(b.out.b)-b.n < len(p) {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	if b.out == nil {
		if len(p) > bufferSizes[topClass]/2 {
			return len(p), b.push.all(p)
		}
		b.out = lend(topClass)
	}
	b.n += copy(b.out.b[b.n:], p)
	return len(p), nil
}

// flush writes what was kept. The caller holds mu.
func (b *bulk) flush() error {
	if b.out == nil {
		return nil
	}
	err := b.push.all(b.out.b[b.sent:b.n])
	b.empty()
	return err
}

// empty gives the buffer back. The caller holds mu.
func (b *bulk) empty() {
	giveBack(b.out)
	b.out, b.sent, b.n = nil, 0, 0
}

// tryFlush writes what was kept as far as the kernel takes it at once, and
// reports whether that was all.
func (b *bulk) tryFlush() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out == nil {
		return true, nil
	}
	n, err := b.push.now(b.out.b[b.sent:b.n])
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
func (b *bulk) tryUncork() (bool, error) {
	b.mu.Lock()
	b.gather = false
	b.mu.Unlock()
	return b.tryFlush()
}

// cork makes writes wait for uncork.
func (b *bulk) cork() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gather = true
}

// uncork writes what was kept since cork.
func (b *bulk) uncork() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gather = false
	return b.flush()
}
