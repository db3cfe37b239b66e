package resume

import (
	"encoding/binary"

	"github.com/stack4things/s4t"
)

// kind of a message.
type kind byte

const (
	hello kind = 'h'
	data  kind = 'd'
	ack   kind = 'a'
	fin   kind = 'f'
	reset kind = 'r'
	ping  kind = 'p'
	pong  kind = 'q'
	bye   kind = 'b'
)

const (
	version = 1
	maxData = 64 << 10 // bytes of one data message
)

// message is the head of one.
type message struct {
	kind            kind
	received, limit uint64 // hello, ack
	length          int    // data
}

// appendTo appends the head.
func (m message) appendTo(b []byte) []byte {
	b = append(b, byte(m.kind))
	switch m.kind {
	case hello:
		b = append(b, version)
		fallthrough
	case ack:
		b = binary.BigEndian.AppendUint64(b, m.received)
		b = binary.BigEndian.AppendUint64(b, m.limit)
	case data:
		b = binary.BigEndian.AppendUint32(b, uint32(m.length))
	}
	return b
}

// headSize is how long a head is that begins with k, in bytes.
func headSize(k byte) (int, error) {
	switch kind(k) {
	case fin, reset, ping, pong, bye:
		return 1, nil
	case hello:
		return 18, nil
	case ack:
		return 17, nil
	case data:
		return 5, nil
	}
	return 0, broken("a message of type 0x%02x", k)
}

// parseHead reads a whole head.
func parseHead(b []byte) (message, error) {
	m := message{kind: kind(b[0])}
	b = b[1:]
	switch m.kind {
	case hello:
		if b[0] != version {
			return m, broken("the other end speaks version %d, this one %d", b[0], version)
		}
		b = b[1:]
		fallthrough
	case ack:
		m.received, m.limit = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	case data:
		n := binary.BigEndian.Uint32(b)
		if n == 0 || n > maxData {
			return m, broken("%d bytes of data in one message; 1 to %d are possible", n, maxData)
		}
		m.length = int(n)
	}
	return m, nil
}

// broken is an error in what the other end says: the stream cannot go on.
func broken(format string, args ...any) error {
	return s4t.Errorf(s4t.Invalid, "carry a stream", "bring both sides to the same version", format, args...)
}
