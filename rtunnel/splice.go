package rtunnel

import "errors"

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

// Bulkiness says whether a direction of a stream is worth a [Splicer], and may
// have one. The zero value says no.
type Bulkiness int

// Note counts a message of n bytes.
func (b *Bulkiness) Note(n int) {
	if n >= spliceWorth {
		*b = min(*b+Bulkiness(n), 2*spliceAfter)
	} else {
		*b = max(*b-spliceAfter/8, 0)
	}
}

// Enough reports whether the kernel is to move the next message.
func (b Bulkiness) Enough() bool { return b >= spliceAfter }

// What a [Splicer] cannot go on after.
var (
	ErrMasked = errors.New("the other end masks what it sends")
	ErrLocal  = errors.New("the local end of the stream takes no more")
)
