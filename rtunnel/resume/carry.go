package resume

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/stream"
)

const (
	ackDelay  = time.Second      // bytes are acknowledged within it: nobody waits for that but their buffer
	pingAfter = 15 * time.Second // of silence; a proxy may cut a silent connection after 30 s
	closeWait = 2 * time.Second  // for the other end to close after bye
	deadAfter = 10 * time.Second // without anything from an end that owes an answer
)

// Errors of one connection; the stream goes on with another.
var (
	errReplaced = s4t.Errorf(s4t.Conflict, "carry a stream", "", "another connection carries it")
	errSilent   = s4t.Errorf(s4t.Timeout, "carry a stream", "", "the other end does not answer")
	errCut      = s4t.Errorf(s4t.Unavailable, "carry a stream", "", "the connection was lost")
)

// Carrier is one connection of a stream, as a local end for it: what is read from it
// goes to the other end, and what came from there is written to it. Its fields are
// guarded by Stream.mu where nothing else is said.
type Carrier struct {
	s    *Stream
	gone chan struct{} // closed when it is of no use any more, with over
	over error

	fresh         bool   // it is the stream's first, which begins at 0
	greeted       bool   // the other end's hello has come
	helloSent     bool   //
	finSent       bool   // on this connection
	pinged, asked bool   // a ping, and the answer to one, are to be sent
	said          uint64 // received, as the other end was last told
	saidLimit     uint64 // our limit, as it was last told
	ackDue        bool
	delay         *time.Timer // of ackDue; nil: none runs
	resetSent     bool
	byeSent       bool

	heard time.Time // when something came
	owed  time.Time // since when the other end owes an answer; zero: it does not

	rest []byte // Read's: what did not fit
	head []byte // Write's: a head that is not whole yet
	left int    // Write's: bytes of the data message that has begun
}

// Attach returns a connection of the stream, in place of the one before.
func (s *Stream) Attach() *Carrier {
	c := &Carrier{s: s, gone: make(chan struct{}), heard: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.fresh = s.fresh && s.tries == 0
	s.tries++
	if s.carrier != nil {
		s.drop(s.carrier, errReplaced)
	}
	s.carrier, s.sent = c, s.acked
	return c
}

// Carry moves the stream over conn, in place of the connection before, until the
// stream has ended or conn has, and closes it. It returns nil when the stream has
// ended and the other end was told: see Err. Only the end that opens connections
// calls it.
func (s *Stream) Carry(conn stream.HalfCloser) error {
	c := s.Attach()
	var both sync.WaitGroup
	both.Go(func() {
		io.CopyBuffer(conn, struct{ io.Reader }{c}, make([]byte, maxData+64))
		conn.CloseWrite() // an error means that nobody is there: the reader sees it
	})
	both.Go(func() {
		io.Copy(struct{ io.Writer }{c}, conn)
		c.CloseWrite()
	})
	both.Go(func() { s.watch(c) })
	<-c.gone
	conn.Close()
	both.Wait()
	if errors.Is(c.over, errOver) {
		return nil
	}
	return c.over
}

// hear notes that the other end is alive.
func (c *Carrier) hear() {
	c.heard = time.Now()
	if !c.byeSent {
		c.owed = time.Time{}
	}
}

// errOver ends a connection whose stream has ended.
var errOver = errors.New("the stream has ended")

// drop ends a connection; the first reason counts. s.mu is held.
func (s *Stream) drop(c *Carrier, why error) {
	if c.over != nil {
		return
	}
	if c.byeSent {
		why = errOver
	}
	c.over = why
	if c.delay != nil {
		c.delay.Stop()
	}
	if s.carrier == c {
		s.carrier = nil
	}
	close(c.gone)
	s.changed.Broadcast()
}

// CloseWrite implements HalfCloser: the other end says no more.
func (c *Carrier) CloseWrite() error { return c.Close() }

// Close implements HalfCloser. The stream goes on without the connection.
func (c *Carrier) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.drop(c, errCut)
	return nil
}

// Write takes what came from the other end, in pieces as they come.
func (c *Carrier) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		if c.left > 0 {
			k = min(c.left, len(p))
			err = c.s.bytesCame(c, p[:k])
			c.left -= k
		} else {
			k, err = c.takeHead(p)
		}
		n += k
		p = p[k:]
	}
	if err == nil {
		return n, nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if s4t.KindOf(err) == s4t.Invalid { // it cannot be understood: no other connection mends that
		c.s.end(err)
	}
	c.s.drop(c, err) // in one step: who sees the end says that as the reason
	return n, err
}

// takeHead takes a piece of a head, and handles the message where it is whole.
func (c *Carrier) takeHead(p []byte) (n int, err error) {
	if len(c.head) == 0 {
		c.head = append(c.head, p[0])
		n = 1
	}
	size, err := headSize(c.head[0])
	if err != nil {
		return n, err
	}
	k := min(size-len(c.head), len(p)-n)
	c.head = append(c.head, p[n:n+k]...)
	n += k
	if len(c.head) < size {
		return n, nil
	}
	m, err := parseHead(c.head)
	c.head = c.head[:0]
	switch {
	case err != nil:
	case m.kind == data:
		c.left = m.length
	default:
		err = c.s.came(c, m)
	}
	return n, err
}

// minRead is the room in which any head fits, and some data.
const minRead = 256

// Read returns what is to be said to the other end, and io.EOF when the connection is of no
// use any more.
func (c *Carrier) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		b := p
		if len(p) < minRead {
			b = make([]byte, minRead)
		}
		n := c.say(b)
		if n == 0 {
			return 0, io.EOF
		}
		if len(p) >= minRead {
			return n, nil
		}
		c.rest = b[:n]
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// say waits for something to be said and puts it into b; 0: nothing more is.
func (c *Carrier) say(b []byte) int {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for c.over == nil && !c.byeSent {
		if said := s.next(c, b[:0]); len(said) > 0 {
			return len(said)
		}
		s.changed.Wait()
	}
	return 0
}

// bytesCame takes bytes, unless the connection was replaced meanwhile.
func (s *Stream) bytesCame(c *Carrier, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.over != nil:
		return c.over
	case !c.greeted:
		return broken("bytes came before the greeting")
	case s.inEnded:
		return broken("bytes came after the end")
	case s.in.n+len(p) > s.window:
		return broken("more bytes came than were asked for")
	}
	c.hear()
	if s.ended {
		return nil
	}
	s.in.put(p)
	s.received += uint64(len(p))
	s.owe(c)
	s.changed.Broadcast()
	return nil
}

// owe has what came acknowledged: at once where the other end waits for it, else
// after a moment. s.mu is held.
func (s *Stream) owe(c *Carrier) {
	switch {
	case c.ackDue:
	case s.inEnded, s.received-c.said >= uint64(s.window/8):
		c.ackDue = true
	case c.delay == nil:
		c.delay = time.AfterFunc(ackDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			c.delay, c.ackDue = nil, true
			s.changed.Broadcast()
		})
	}
}

// came handles a message that has no bytes.
func (s *Stream) came(c *Carrier, m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	if c.greeted == (m.kind == hello) {
		return broken("a greeting has to come first, and once")
	}
	c.hear()
	defer s.changed.Broadcast()
	switch m.kind {
	case hello:
		c.greeted = true
		s.fresh = false
		return s.acknowledged(c, m)
	case ack:
		return s.acknowledged(c, m)
	case fin:
		if s.inEnded {
			return broken("a second end came")
		}
		s.inEnded = true
		s.received++
		s.owe(c)
	case reset:
		s.end(ErrReset)
	case ping:
		c.asked = true
	case bye:
		if !s.finAcked || !s.inEnded {
			s.end(ErrReset)
		}
		return errOver
	}
	return nil
}

// acknowledged notes how far the other end has come: what is not sent yet on this
// connection is sent from there. s.mu is held.
func (s *Stream) acknowledged(c *Carrier, m message) error {
	if s.ended {
		return nil
	}
	end := s.acked + uint64(s.out.n)
	most := end
	if s.outEnded {
		most++ // fin
	}
	if m.received < s.acked || m.received > most {
		return broken("it has %d bytes of those from %d to %d", m.received, s.acked, most)
	}
	n := min(m.received, end) - s.acked
	s.out.discard(int(n))
	s.acked += n
	s.sent = max(s.sent, s.acked)
	s.limit = max(s.limit, m.limit)
	if m.received > end {
		s.finAcked = true
	}
	if s.acked < s.sent || c.finSent && !s.finAcked {
		c.owed = time.Now()
	}
	s.settle()
	return nil
}

// next appends what is to be said now, within the capacity of b, which is at least
// minRead. s.mu is held.
func (s *Stream) next(c *Carrier, b []byte) []byte {
	if !c.helloSent {
		c.helloSent = true
		b = s.tell(c, hello, b)
		c.owed = time.Now()
	}
	if c.asked {
		c.asked = false
		b = message{kind: pong}.appendTo(b)
	}
	if !c.greeted && !c.fresh { // where to go on is not known yet
		return b
	}
	if s.ended {
		return s.farewell(c, b)
	}
	if c.pinged {
		c.pinged, c.owed = false, time.Now()
		b = message{kind: ping}.appendTo(b)
	}
	end := s.acked + uint64(s.out.n)
	more := s.sent < min(end, s.limit)
	grown := s.consumed + uint64(s.window) - c.saidLimit
	if c.ackDue || grown >= uint64(s.window/8) || more && c.said != s.received {
		b = s.tell(c, ack, b)
	}
	const after = 16 // room for what may follow, and for the head
	for s.sent < min(end, s.limit) && cap(b)-len(b) > after {
		n := int(min(end-s.sent, s.limit-s.sent, maxData, uint64(cap(b)-len(b)-after)))
		b = message{kind: data, length: n}.appendTo(b)
		at := len(b)
		b = b[:at+n]
		s.out.copyTo(b[at:], int(s.sent-s.acked))
		s.sent += uint64(n)
		c.owed = time.Now()
	}
	if s.outEnded && s.sent == end && !c.finSent && !s.finAcked {
		c.finSent, c.owed = true, time.Now()
		b = message{kind: fin}.appendTo(b)
	}
	return b
}

// farewell appends the last words of a stream that has ended. s.mu is held.
func (s *Stream) farewell(c *Carrier, b []byte) []byte {
	switch {
	case s.err == nil && c.said != s.received:
		b = s.tell(c, ack, b)
	case s.err != nil && !c.resetSent:
		c.resetSent = true
		b = message{kind: reset}.appendTo(b)
	}
	if s.opener && !c.byeSent {
		c.byeSent, c.owed = true, time.Now()
		b = message{kind: bye}.appendTo(b)
	}
	return b
}

// tell appends how far this end has come. s.mu is held.
func (s *Stream) tell(c *Carrier, as kind, b []byte) []byte {
	c.ackDue, c.said, c.saidLimit = false, s.received, s.consumed+uint64(s.window)
	return message{kind: as, received: c.said, limit: c.saidLimit}.appendTo(b)
}

// watch ends a connection on which nothing comes any more.
func (s *Stream) watch(c *Carrier) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.gone:
			return
		case now := <-tick.C:
			s.mu.Lock()
			switch {
			case c.byeSent && now.Sub(c.owed) > closeWait:
				s.drop(c, errOver)
			case !c.owed.IsZero() && now.Sub(c.owed) > deadAfter && now.Sub(c.heard) > deadAfter:
				s.drop(c, errSilent)
			case c.owed.IsZero() && !c.pinged && now.Sub(c.heard) > pingAfter:
				c.pinged = true
				s.changed.Broadcast()
			}
			s.mu.Unlock()
		}
	}
}
