package rtunnel

import (
	"errors"
	"io"
	"sync/atomic"
)

// Where neither end of a direction is TLS, the kernel moves the bytes of a
// bulky stream from socket to socket (splice(2)); only headers come through
// this process. The frames stay, so nothing of what they are for is lost: a
// direction ends with eof, a cut is no end, and the rtunnel carries the next
// stream. Each end decides for itself, and its peer need not know.
//
// What a client sends is masked with keys that nobody can predict (RFC 6455,
// section 10.3), for a proxy in between that took the bytes for HTTP could be
// made to believe them. A spliced message has the key 0, which changes no byte;
// spliceAfter masked bytes have passed behind the upgrade by then, and who reads
// them as HTTP has hung up.

const (
	spliceAfter = 1 << 20   // bytes in large messages before the kernel moves them
	spliceWorth = 32 << 10  // a message of fewer bytes is cheaper to copy
	spliceMost  = 256 << 10 // bytes in one message: a peer that copies holds them in one buffer
)

// bulkiness says whether a direction of a stream is worth splicing. The zero
// value says no.
type bulkiness int

// note counts a message of n bytes.
func (b *bulkiness) note(n int) {
	if n >= spliceWorth {
		*b = min(*b+bulkiness(n), 2*spliceAfter)
	} else {
		*b = max(*b-spliceAfter/8, 0)
	}
}

func (b bulkiness) enough() bool { return b >= spliceAfter }

var (
	errMasked = errors.New("the other end masks what it sends")
	errLocal  = errors.New("the local end of the stream takes no more")
)

// inflow is how the bytes of a direction come to a line.
type inflow struct {
	bulkiness
	pipe *pipe // nil: none was needed so far
	none bool  // there can be none
}

// reset ends a stream's inflow.
func (f *inflow) reset() {
	f.pipe.close()
	*f = inflow{}
}

// splice moves bulky messages to the local end until one comes that
// ReadMessage must read.
func (l *line) splice() error {
	for l.in.enough() && !l.in.none {
		if l.in.pipe == nil {
			g := l.current()
			if g == nil { // broken from outside
				return nil
			}
			if l.in.pipe = newPipe(l.conn, g.local); l.in.pipe == nil {
				l.in.none = true
				return nil
			}
		}
		n, err := l.in.pipe.receive()
		switch {
		case errors.Is(err, errMasked):
			l.in.none = true
			return nil
		case errors.Is(err, errLocal):
			l.reset()
			return err
		case n == 0 || err != nil:
			return err
		}
		l.in.note(n)
	}
	return nil
}

// spliceIn moves bytes from local to c inside the kernel while they come in
// bulk, until io.EOF. It reports whether that is possible at all.
func spliceIn(c *Conn, local io.Reader, bulk *bulkiness, moved *atomic.Uint32) (possible bool, err error) {
	rwc, _ := local.(io.ReadWriteCloser)
	p := newPipe(c, rwc)
	if p == nil {
		return false, nil
	}
	defer p.close()
	for bulk.enough() {
		moved.Add(1)
		n, err := p.send()
		if err != nil {
			return true, err
		}
		bulk.note(n)
	}
	return true, nil
}
