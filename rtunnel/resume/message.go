package resume

import (
	"bufio"
	"encoding/binary"
	"io"

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
	maxData = 32 << 10 // bytes of one data message
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

// readMessage reads the next head; the bytes of data follow it.
func readMessage(r *bufio.Reader) (m message, err error) {
	k, err := r.ReadByte()
	if err != nil {
		return m, err
	}
	m.kind = kind(k)
	var b [17]byte
	switch m.kind {
	case fin, reset, ping, pong, bye:
		return m, nil
	case hello:
		if _, err := io.ReadFull(r, b[:17]); err != nil {
			return m, whole(err)
		}
		if b[0] != version {
			return m, broken("the other end speaks version %d, this one %d", b[0], version)
		}
		m.received, m.limit = binary.BigEndian.Uint64(b[1:9]), binary.BigEndian.Uint64(b[9:17])
	case ack:
		if _, err := io.ReadFull(r, b[:16]); err != nil {
			return m, whole(err)
		}
		m.received, m.limit = binary.BigEndian.Uint64(b[0:8]), binary.BigEndian.Uint64(b[8:16])
	case data:
		if _, err := io.ReadFull(r, b[:4]); err != nil {
			return m, whole(err)
		}
		n := binary.BigEndian.Uint32(b[:4])
		if n == 0 || n > maxData {
			return m, broken("%d bytes of data in one message; 1 to %d are possible", n, maxData)
		}
		m.length = int(n)
	default:
		return m, broken("a message of type 0x%02x", k)
	}
	return m, nil
}

// whole says that a message was cut short.
func whole(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// broken is an error in what the other end says: the stream cannot go on.
func broken(format string, args ...any) error {
	return s4t.Errorf(s4t.Invalid, "carry a stream", "bring both sides to the same version", format, args...)
}
