package resume

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/stream"
)

// HoldTime is how long a stream without a connection is kept, and tried for.
const HoldTime = 5 * time.Minute

// Windows, in bytes: of what one end keeps for the other, in each direction.
const (
	Window      = 1 << 20
	SmallWindow = 64 << 10 // and what may be sent before the other end said more
)

// ErrReset is why a stream ended whose other end is broken.
var ErrReset = s4t.Errorf(s4t.Unavailable, "carry a stream", "", "%w", os.NewSyscallError("read", syscall.ECONNRESET))

// Stream is one end of a stream. Its methods may be called from any goroutine.
//
// Three kinds of goroutines share it: fill takes bytes from the local end, drain
// gives it those that came, and Carry, of which only the last one counts, moves
// both over a connection. All wait on changed.
type Stream struct {
	local  stream.HalfCloser
	window int
	opener bool // this end opens connections, and looks whether they are alive

	done chan struct{} // closed when the stream has ended, with err

	mu      sync.Mutex // guards the fields below
	changed sync.Cond
	err     error
	ended   bool
	carrier *Carrier // the connection of now; nil: none
	fresh   bool     // the other end has never said anything
	tries   int      // connections so far

	out      ring   // sent or to be sent, not acknowledged
	acked    uint64 // of our bytes: the offset of the first in out
	sent     uint64 // how far the present connection has been given them
	limit    uint64 // how far the other end takes them
	outEnded bool   // the local end has no more: fin follows out
	finAcked bool

	in       ring   // received and not given to the local end
	received uint64 // of the other's bytes, fin counted
	consumed uint64 // given to the local end, fin counted
	inEnded  bool   // fin has come
}

// New returns the stream between local and whatever connections carry it. It owns
// local. opener is set at the end that opens connections.
func New(local stream.HalfCloser, window int, opener bool) *Stream {
	s := &Stream{local: local, window: window, opener: opener, done: make(chan struct{}), fresh: true, limit: SmallWindow}
	s.changed.L = &s.mu
	go s.fill()
	go s.drain()
	return s
}

// Done is closed when the stream has ended: both directions have, and the other
// end knows, or it is broken.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err is why it ended: nil when all bytes of both directions have arrived.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Started reports whether the other end has ever answered.
func (s *Stream) Started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fresh
}

// Abort breaks the stream: the local end sees a reset, and the other end too where
// there is a connection.
func (s *Stream) Abort(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(why)
}

// CloseWrite says that the local end has no more bytes, whatever it says later.
func (s *Stream) CloseWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outEnded = true
	s.changed.Broadcast()
}

// end ends the stream. s.mu is held.
func (s *Stream) end(why error) {
	if s.ended {
		return
	}
	s.ended, s.err = true, why
	s.out.discard(s.out.n)
	s.in.discard(s.in.n)
	if why != nil {
		if l, ok := s.local.(interface{ SetLinger(int) error }); ok {
			l.SetLinger(0) // RST (tcp(7), socket(7))
		}
	}
	s.local.Close()
	close(s.done)
	s.changed.Broadcast()
}

// settle ends the stream when both directions have. s.mu is held.
func (s *Stream) settle() {
	if s.finAcked && s.inEnded && s.consumed == s.received {
		s.end(nil)
	}
}

// fill takes what the local end says, as far as there is room to keep it.
func (s *Stream) fill() {
	buf := make([]byte, minBuffer)
	for {
		s.mu.Lock()
		for !s.ended && s.out.n >= s.window {
			s.changed.Wait()
		}
		room := min(len(buf), s.window-s.out.n)
		over := s.ended
		s.mu.Unlock()
		if over {
			return
		}
		n, err := s.local.Read(buf[:room])
		full := n == len(buf) && n < maxData
		s.mu.Lock()
		if n > 0 && !s.ended && !s.outEnded {
			s.out.put(buf[:n])
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			s.outEnded = true
		default:
			s.end(err)
		}
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
		if full {
			buf = make([]byte, 2*len(buf))
		}
	}
}

// minBuffer is what fill and drain begin with, in bytes; the buffers of those that move
// more grow up to maxData.
const minBuffer = 4 << 10

// drain gives the local end what came.
func (s *Stream) drain() {
	buf := make([]byte, minBuffer)
	for {
		s.mu.Lock()
		for !s.ended && s.in.n == 0 && !(s.inEnded && s.consumed < s.received) {
			s.changed.Wait()
		}
		if s.in.n > len(buf) && len(buf) < maxData {
			buf = make([]byte, 2*len(buf))
		}
		n := min(len(buf), s.in.n)
		s.in.copyTo(buf[:n], 0)
		over := s.ended
		s.mu.Unlock()
		if over {
			return
		}
		var err error
		if n > 0 {
			_, err = s.local.Write(buf[:n])
		} else {
			s.local.CloseWrite() // an error means that nobody listens there any more: fill sees it
		}
		s.mu.Lock()
		if err != nil {
			s.end(err)
		}
		if s.ended {
			s.mu.Unlock()
			return
		}
		last := n == 0
		if last {
			s.consumed++
		} else {
			s.in.discard(n)
			s.consumed += uint64(n)
		}
		s.settle()
		s.changed.Broadcast()
		s.mu.Unlock()
		if last {
			return
		}
	}
}
