package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	maxConns         = 128
	maxConnsOfSource = 8
	maxAsked         = 100              // queries of one connection
	connIdle         = 5 * time.Second  // for the next query
	connLife         = 30 * time.Second // of a connection, whatever it does
)

// serveTCP takes connections until l is closed, and returns when all have ended.
func (s *Server) serveTCP(ctx context.Context, l net.Listener) error {
	conns := connections{of: map[string]int{}}
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // no descriptors: UDP goes on
			s.cfg.Log.Debug("a DNS connection could not be taken", "err", err)
			pause(ctx)
			continue
		}
		source := s4t.SourceOfPeer(c.RemoteAddr().String())
		if !conns.take(source) {
			s.held.Add(1)
			c.Close()
			continue
		}
		open.Go(func() {
			defer conns.give(source)
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			s.converse(ctx, c)
		})
	}
}

// converse answers the queries of one connection, each behind its length (RFC 7766).
func (s *Server) converse(ctx context.Context, c net.Conn) {
	end := time.Now().Add(connLife)
	buf := make([]byte, 2+maxQuery)
	for range maxAsked {
		deadline := time.Now().Add(connIdle)
		if deadline.After(end) {
			deadline = end
		}
		c.SetDeadline(deadline)
		if _, err := io.ReadFull(c, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if n > maxQuery {
			return
		}
		if _, err := io.ReadFull(c, buf[:n]); err != nil {
			return
		}
		if !s.spends(s.tcp, c.RemoteAddr()) {
			s.held.Add(1)
			return
		}
		reply := s.answer(ctx, buf[:n], false)
		if reply == nil {
			return
		}
		s.said.Add(1)
		c.SetDeadline(time.Now().Add(connIdle))
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// connections bounds those of TCP.
type connections struct {
	mu sync.Mutex // guards of
	of map[string]int
	n  int
}

// take takes a place for a source, if there is one.
func (c *connections) take(source string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= maxConns || c.of[source] >= maxConnsOfSource {
		return false
	}
	c.n++
	c.of[source]++
	return true
}

// give gives it back.
func (c *connections) give(source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.of[source]--; c.of[source] == 0 {
		delete(c.of, source)
	}
}
