package rtunnel

import (
	"io"
	"net"
)

// MaxStreamMessage is the most bytes of a stream in one message that was not
// moved by the kernel.
const MaxStreamMessage = 128 << 10

// Sender sends what comes from the local end of a stream: what one read brings
// is one binary message. It holds a buffer only while bytes are there. One
// goroutine uses it.
type Sender struct {
	conn  *Conn
	read  func(class int) (*buffer, int, error)
	class int // of the buffer to lend next
}

// NewSender returns a Sender from local to c.
func NewSender(c *Conn, local io.Reader) Sender { return Sender{conn: c, read: readerOf(local)} }

// Send waits for bytes, sends them, and returns how many, or io.EOF when there
// are no more.
func (s *Sender) Send() (int, error) {
	b, n, err := s.read(s.class)
	if n > 0 {
		if n == room(b) && s.class < topClass {
			s.class++
		} else if n < room(b)/16 && s.class > 0 {
			s.class--
		}
		err = s.conn.writeInPlace(b.b, n)
	}
	if b != nil {
		giveBack(b)
	}
	return n, err
}

// room is how many bytes of a stream are read into b, behind the room for a
// header.
func room(b *buffer) int { return min(len(b.b)-maxMaskedHeader, MaxStreamMessage) }

// readerOf returns a function that reads from r into a lent buffer of
// the class, behind the room for a header. On a TCP connection the buffer is
// lent when bytes are there, not before.
func readerOf(r io.Reader) func(class int) (*buffer, int, error) {
	if tcp, ok := r.(*net.TCPConn); ok {
		if read := rawReader(tcp); read != nil {
			return read
		}
	}
	return func(class int) (*buffer, int, error) {
		b := lend(class)
		n, err := r.Read(b.b[maxMaskedHeader : maxMaskedHeader+room(b)])
		if n > 0 {
			err = nil // the next read tells it again
		}
		return b, n, err
	}
}

// writeInPlace sends the n bytes of b that begin behind the room for a
// header as one binary message. It changes them.
func (c *Conn) writeInPlace(b []byte, n int) error {
	size := headerSize(n)
	if c.client {
		size += 4
	}
	start := maxMaskedHeader - size
	frame := b[start : maxMaskedHeader+n]
	c.wmu.Lock()
	defer c.unlock()
	if c.client {
		key := c.keys.next()
		putMaskedHeader(frame, OpBinary, n, key)
		mask(frame[size:], key)
	} else {
		putHeader(frame, OpBinary, n, 0)
	}
	return c.write(frame)
}
