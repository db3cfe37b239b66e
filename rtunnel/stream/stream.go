package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
)

// HalfCloser is one end of a byte stream whose directions end one by one:
// a *net.TCPConn, a [*Stream], standard input and output.
type HalfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Stream is the only stream of an rtunnel with [rtunnel.SubprotocolStream]: the user's
// end of it, and the tunnel agent's. It is a net.Conn with half-close. One
// goroutine at a time may read.
type Stream struct {
	conn *rtunnel.Conn
	rest []byte // of the last message, not read yet
	rerr error  // what ended reading

	mu  sync.Mutex // guards the field below, and orders eof behind bytes
	eof bool       // sent
}

// New returns the stream over a Conn whose stream is open already.
func New(c *rtunnel.Conn) *Stream { return &Stream{conn: c} }

// Dialer opens an rtunnel (*dial.Dialer).
type Dialer interface {
	Dial(ctx context.Context, url, path, subprotocol, bearer string) (*rtunnel.Conn, error)
}

// Dial opens the stream that ticket allows, through d, at the tunnel agent of
// rawURL. It returns when the board has connected to the target, or with the
// board's reason why not.
func Dial(ctx context.Context, d Dialer, rawURL, ticket string) (*Stream, error) {
	conn, err := d.Dial(ctx, rawURL, rtunnel.Path, rtunnel.SubprotocolStream, ticket)
	if err != nil {
		return nil, err
	}
	s := New(conn)
	if err := s.opened(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// opened waits for the answer to the request for a stream.
func (s *Stream) opened(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	for {
		op, p, err := s.conn.ReadMessage()
		if ctx.Err() != nil {
			return s4t.Errorf(s4t.Timeout, "open a stream", "", "the board does not answer: %w", context.Cause(ctx))
		}
		if err != nil {
			return s4t.Errorf(s4t.Unavailable, "open a stream", "try again", "the tunnel agent hung up: %w", err)
		}
		if op != rtunnel.OpText {
			return streamError("bytes came before the stream was open")
		}
		m, err := parseControl(p)
		switch {
		case err != nil:
			return err
		case m.Refused != nil:
			return m.Refused.Err()
		case m.Opened != nil:
			return nil
		}
	}
}

// Admit tells the other end that the stream is open.
func (s *Stream) Admit() error { return control{Opened: set}.send(s.conn) }

// Read implements net.Conn. It returns io.EOF after the other end's half-close
// and syscall.ECONNRESET, wrapped, after a reset.
func (s *Stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		b, err := s.next()
		if err != nil {
			return 0, err
		}
		s.rest = b
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo without a buffer of its own.
func (s *Stream) WriteTo(w io.Writer) (n int64, err error) {
	b := s.rest
	s.rest = nil
	for {
		if len(b) > 0 {
			m, err := w.Write(b)
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		if b, err = s.next(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
}

// next returns the next bytes, valid until the read after it.
func (s *Stream) next() ([]byte, error) {
	for s.rerr == nil {
		op, p, err := s.conn.ReadMessage()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the rtunnel ended before the stream
		}
		if err != nil {
			s.rerr = err
			break
		}
		if op == rtunnel.OpBinary {
			return p, nil
		}
		m, err := parseControl(p)
		switch {
		case err != nil:
			s.rerr = err
		case m.EOF != nil:
			s.rerr = io.EOF
		case m.Reset != nil:
			s.rerr = &net.OpError{Op: "read", Net: "rtunnel", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
		}
	}
	return nil, s.rerr
}

// Write implements net.Conn. It blocks while the other end does not take more.
func (s *Stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), rtunnel.MaxStreamMessage)]
		if err := s.conn.WriteMessage(rtunnel.OpBinary, part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// CloseWrite tells the other end that no more bytes come; reading goes on.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.eof {
		return nil
	}
	s.eof = true
	return control{EOF: set}.send(s.conn)
}

// Close ends both directions and the rtunnel: the other end gets what was
// written and then the end, as with a TCP connection.
func (s *Stream) Close() error {
	s.conn.NetConn().SetWriteDeadline(time.Now().Add(rtunnel.CloseWait))
	err := s.CloseWrite()
	return errors.Join(err, s.conn.CloseWithStatus(rtunnel.StatusNormal, ""))
}

// CloseWithReset breaks the stream: the other end sees a connection reset.
func (s *Stream) CloseWithReset() error {
	s.conn.NetConn().SetWriteDeadline(time.Now().Add(rtunnel.CloseWait))
	control{Reset: set}.send(s.conn) // who cannot be told sees the cut
	return s.conn.Close()
}

// CloseWithRefusal answers the request for the stream with err, and closes.
func (s *Stream) CloseWithRefusal(err error) error {
	s.conn.NetConn().SetWriteDeadline(time.Now().Add(rtunnel.CloseWait))
	refused(err).send(s.conn)
	return s.conn.CloseWithStatus(rtunnel.StatusNormal, "")
}

// Conn returns the rtunnel underneath, to keep it alive.
func (s *Stream) Conn() *rtunnel.Conn { return s.conn }

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.conn.NetConn().LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.conn.NetConn().RemoteAddr() }

// SetDeadline implements net.Conn. Over TLS a write that timed out breaks the
// stream.
func (s *Stream) SetDeadline(t time.Time) error { return s.conn.NetConn().SetDeadline(t) }

// SetReadDeadline implements net.Conn. A read that timed out breaks the
// stream.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.conn.NetConn().SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.conn.NetConn().SetWriteDeadline(t) }
