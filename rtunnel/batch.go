package rtunnel

// Batch collects binary messages and sends them with one write. Payloads are
// read or copied to their place once; headers and masks are put around them
// there. It is not safe for concurrent use.
type Batch struct {
	buf    []byte
	n      int // bytes of whole frames
	room   int // bytes before the payload that Next handed out; 0: none is out
	client bool
	keys   *keys
}

// NewBatch returns an empty Batch of size bytes for messages from this end. It
// must hold at least one message and [MaxHeader] + 4 bytes for its header. The
// caller keeps it for as long as it writes.
func (c *Conn) NewBatch(size int) *Batch {
	b := &Batch{buf: make([]byte, size), client: c.client}
	if c.client {
		b.keys = newKeys()
	}
	return b
}

// Next returns room for the payload of one message of up to size bytes, or nil
// when the Batch is full. Fill it from the front, then Commit.
func (b *Batch) Next(size int) []byte {
	// The room is what the header of most payloads takes, so that the
	// payload need not be moved; see Commit.
	b.room = 4
	if b.client {
		b.room = 8
	}
	start := b.n + b.room
	end := start + size + maxMaskedHeader - b.room // a longer header moves the payload up
	if end > len(b.buf) {
		b.room = 0
		return nil
	}
	return b.buf[start : start+size]
}

// Commit makes a message of the first n bytes of what Next returned. Without a
// Next before it, it does nothing.
func (b *Batch) Commit(n int) {
	if b.room == 0 {
		return
	}
	at := b.buf[b.n:]
	payload := b.room
	size := headerSize(n)
	if b.client {
		size += 4
	}
	if size != b.room { // under 126 or over 65,535 bytes: the shortest form is another
		copy(at[size:size+n], at[payload:payload+n])
	}
	if b.client {
		key := b.keys.next()
		copy(at[putHeader(at, OpBinary, n, 0x80):], key[:])
		mask(at[size:size+n], key)
	} else {
		putHeader(at, OpBinary, n, 0)
	}
	b.n += size + n
	b.room = 0
}

// Append adds a message with the payload p and reports whether there was room.
func (b *Batch) Append(p []byte) bool {
	room := b.Next(len(p))
	if room == nil {
		return false
	}
	b.Commit(copy(room, p))
	return true
}

// Len returns the bytes of whole frames in the Batch.
func (b *Batch) Len() int { return b.n }

// Reset empties the Batch.
func (b *Batch) Reset() { b.n, b.room = 0, 0 }
