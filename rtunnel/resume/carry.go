package resume

import (
	"bufio"
	"errors"
	"time"

	"github.com/stack4things/s4t"
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
)

// carrier is one connection of a stream. Its fields are guarded by Stream.mu where
// nothing else is said.
type carrier struct {
	conn HalfCloser

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
	over          error // why it is of no use any more; nil: it is

	heard time.Time // when something came
	owed  time.Time // since when the other end owes an answer; zero: it does not
}

// Carry moves the stream over conn, in place of the connection before, until the
// stream has ended or conn has, and closes it. It returns nil when the stream has
// ended and the other end was told: see Err.
func (s *Stream) Carry(conn HalfCloser) error {
	c := &carrier{conn: conn, heard: time.Now()}
	s.mu.Lock()
	c.fresh = s.fresh && s.tries == 0
	s.tries++
	if s.carrier != nil {
		s.drop(s.carrier, errReplaced)
	}
	s.carrier, s.sent = c, s.acked
	s.mu.Unlock()

	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write(c)
	}()
	if s.opener {
		stop := make(chan struct{})
		defer close(stop)
		go s.watch(c, stop)
	}
	err := s.read(c)
	s.mu.Lock()
	if c.byeSent {
		err = errOver
	}
	s.drop(c, err)
	err = c.over
	s.mu.Unlock()
	<-written
	if errors.Is(err, errOver) {
		return nil
	}
	return err
}

// hear notes that the other end is alive.
func (c *carrier) hear() {
	c.heard = time.Now()
	if !c.byeSent {
		c.owed = time.Time{}
	}
}

// errOver ends a connection whose stream has ended.
var errOver = errors.New("the stream has ended")

// drop ends a connection; the first reason counts. s.mu is held.
func (s *Stream) drop(c *carrier, why error) {
	if c.over != nil {
		return
	}
	c.over = why
	if c.delay != nil {
		c.delay.Stop()
	}
	if s.carrier == c {
		s.carrier = nil
	}
	c.conn.Close()
	s.changed.Broadcast()
}

// read takes what comes on a connection until it ends.
func (s *Stream) read(c *carrier) error {
	r := bufio.NewReaderSize(c.conn, maxData/2)
	buf := make([]byte, maxData/2)
	for {
		m, err := readMessage(r)
		if err == nil && m.kind == data {
			for left := m.length; left > 0 && err == nil; {
				var n int
				n, err = r.Read(buf[:min(left, len(buf))])
				left -= n
				if n > 0 {
					if e := s.bytesCame(c, buf[:n]); e != nil {
						err = e
					}
				}
			}
			err = whole(err)
		} else if err == nil {
			err = s.came(c, m)
		}
		if err == nil {
			continue
		}
		if s4t.KindOf(err) == s4t.Invalid { // it cannot be understood: no other connection mends that
			s.Abort(err)
		}
		return err
	}
}

// bytesCame takes bytes, unless the connection was replaced meanwhile.
func (s *Stream) bytesCame(c *carrier, p []byte) error {
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
func (s *Stream) owe(c *carrier) {
	switch {
	case c.ackDue:
	case s.inEnded, s.received-c.said >= uint64(s.window/4):
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
func (s *Stream) came(c *carrier, m message) error {
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
func (s *Stream) acknowledged(c *carrier, m message) error {
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

// write gives a connection what is to be said until it is of no use any more.
func (s *Stream) write(c *carrier) {
	var b []byte
	for {
		s.mu.Lock()
		for b = b[:0]; c.over == nil; s.changed.Wait() {
			if b = s.next(c, b); len(b) > 0 {
				break
			}
		}
		over := c.over != nil
		s.mu.Unlock()
		if over {
			return
		}
		_, err := c.conn.Write(b)
		s.mu.Lock()
		if err != nil {
			s.drop(c, err)
		}
		last := c.byeSent
		s.mu.Unlock()
		if last { // the reader sees the other end close
			c.conn.CloseWrite()
			return
		}
	}
}

// maxWrite is about how much is written at a time, in bytes.
const maxWrite = 64 << 10

// next appends what is to be said now. s.mu is held.
func (s *Stream) next(c *carrier, b []byte) []byte {
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
	if c.ackDue || grown >= uint64(s.window/4) || more && c.said != s.received {
		b = s.tell(c, ack, b)
	}
	for s.sent < min(end, s.limit) && len(b) < maxWrite {
		n := int(min(end-s.sent, s.limit-s.sent, maxData))
		b = message{kind: data, length: n}.appendTo(b)
		at := len(b)
		b = append(b, make([]byte, n)...)
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
func (s *Stream) farewell(c *carrier, b []byte) []byte {
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
func (s *Stream) tell(c *carrier, as kind, b []byte) []byte {
	c.ackDue, c.said, c.saidLimit = false, s.received, s.consumed+uint64(s.window)
	return message{kind: as, received: c.said, limit: c.saidLimit}.appendTo(b)
}

// watch ends a connection on which nothing comes any more.
func (s *Stream) watch(c *carrier, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
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
