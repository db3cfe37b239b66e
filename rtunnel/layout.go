package rtunnel

// Layout lays out binary messages of one end of a Conn for [Conn.WriteFrames]
// and [Conn.TryWriteFrames], so that many go to one write. It is not safe for
// concurrent use.
type Layout struct {
	keys *keys // nil: a server's end, which does not mask

	begun []byte // the frame between Begin and End
	head  int    // bytes of its header
	key   [4]byte
}

// MaxOverhead is the most bytes that a Layout needs besides the payload.
const MaxOverhead = maxMaskedHeader

// NewLayout returns a Layout for messages from this end.
func (c *Conn) NewLayout() *Layout {
	l := &Layout{}
	if c.client {
		l.keys = newKeys()
	}
	return l
}

// Put writes a message with the payload p to the start of dst, which does not
// overlap it, and returns the length, at most [MaxOverhead] more than that of p.
func (l *Layout) Put(dst, p []byte) int { return putFrame(dst, OpBinary, p, l.keys) }

// Begin writes the header of a message at the start of dst and returns where
// its payload of size bytes goes, to be filled before End.
func (l *Layout) Begin(dst []byte, size int) []byte {
	if l.keys == nil {
		l.head = putHeader(dst, OpBinary, size, 0)
	} else {
		l.key = l.keys.next()
		l.head = putMaskedHeader(dst, OpBinary, size, l.key)
	}
	l.begun = dst[:l.head+size]
	return l.begun[l.head:]
}

// End finishes what Begin began, and returns the length of the whole frame.
func (l *Layout) End() int {
	n := len(l.begun)
	if l.keys != nil {
		mask(l.begun[l.head:], l.key)
	}
	l.begun = nil
	return n
}
