package tunnelagent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// The second sequence of the paper (remote access), on the tunnel agent: who
// connects to a public port, or comes with a ticket for a stream, is joined to
// a stream of the board.

const (
	maxPeers     = 2000            // connections of one public port at a time
	maxSource    = 1500            // the same from one address: no single one keeps the others out
	boardTimeout = 8 * time.Second // for the board to open a stream
	absentBoard  = 2 * time.Second // the same while it has no rtunnel at all: it may be about to come back
	userPing     = 20 * time.Second
	userTimeout  = 60 * time.Second
)

// peerKeepAlive finds a user that has gone without a word within 45 s.
var peerKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// exposure is a public port that listens.
type exposure struct {
	agent    *Agent
	board    s4t.BoardID
	id       s4t.ServiceID
	tcpPort  int
	listener net.Listener
	ticket   atomic.Pointer[string]
	peers    crowd

	ctx     context.Context // ends with the exposure: its streams break
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// applyExposures makes the public ports those of want. What has to end is
// returned, to be called without a.mu, which is held.
func (a *Agent) applyExposures(want []wire.TunnelExposure, problems map[string]string) (ended []func()) {
	desired := make(map[s4t.ServiceID]wire.TunnelExposure, len(want))
	for _, w := range want {
		desired[w.ID] = w
	}
	for id, e := range a.exposures { // first, so that their numbers are free
		if w, ok := desired[id]; !ok || w.PublicPort != e.tcpPort || w.Board != e.board {
			delete(a.exposures, id)
			e.cancel()
			e.listener.Close()
			ended = append(ended, e.running.Wait)
		}
	}
	for id, w := range desired {
		if e := a.exposures[id]; e != nil {
			e.ticket.Store(&w.Ticket)
			continue
		}
		e, err := a.expose(w)
		if err != nil {
			problems[string(id)] = err.Error()
			continue
		}
		a.exposures[id] = e
	}
	return ended
}

// expose opens a public port. a.mu is held.
func (a *Agent) expose(w wire.TunnelExposure) (*exposure, error) {
	op := "open public port " + strconv.Itoa(w.PublicPort)
	if w.PublicPort < a.first || w.PublicPort > a.last {
		return nil, s4t.Errorf(s4t.Invalid, op, "expose the service again", "it is not in the range %d-%d of this tunnel agent", a.first, a.last)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(a.cfg.ListenHost, strconv.Itoa(w.PublicPort)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, s4t.Errorf(s4t.Conflict, op, "free it, or expose the service on another", "another program on the cloud's host uses it")
	}
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	e := &exposure{agent: a, board: w.Board, id: w.ID, tcpPort: w.PublicPort, listener: l}
	e.ticket.Store(&w.Ticket)
	e.ctx, e.cancel = context.WithCancel(a.run)
	a.doors.Add(1)
	e.running.Go(func() {
		defer a.doors.Done()
		e.accept()
	})
	return e, nil
}

// accept takes connections until the exposure ends.
func (e *exposure) accept() {
	log := e.agent.cfg.Log.With("service", e.id)
	stop := context.AfterFunc(e.ctx, func() { e.listener.Close() })
	defer stop()
	defer e.listener.Close()
	wait := minRetry
	for {
		c, err := e.listener.Accept()
		if e.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, most likely
			log.Warn("a public port cannot accept", "err", err, "retry_in", wait)
			select {
			case <-e.ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, maxRetry)
			continue
		}
		wait = minRetry
		tcp := c.(*net.TCPConn)
		source := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if limit := e.peers.enter(source); limit > 0 {
			hangUp(tcp)
			log.Warn("a public port has too many connections; one more was refused", "peer", c.RemoteAddr(), "limit", limit)
			continue
		}
		e.agent.doors.Add(1)
		e.running.Add(1)
		go e.join(tcp, source)
	}
}

// join joins a user's connection to a stream of the board. It has been counted.
func (e *exposure) join(tcp *net.TCPConn, source netip.Addr) {
	ended := func(err error) {
		if err != nil {
			e.agent.cfg.Log.Debug("a stream ended", "service", e.id, "peer", source, "err", err)
		}
		e.peers.leave(source)
		e.agent.doors.Done()
		e.running.Done()
	}
	tcp.SetKeepAliveConfig(peerKeepAlive)
	ctx, cancel := context.WithTimeout(e.ctx, e.agent.patience(e.board))
	defer cancel()
	opened, err := e.agent.opener.Open(ctx, e.ctx, e.board, *e.ticket.Load(), tcp, nil, ended)
	if !opened {
		hangUp(tcp)
		ended(err)
	}
}

// crowd counts the connections of a public port, also by address.
type crowd struct {
	mu      sync.Mutex // guards the fields below
	all     int
	sources map[netip.Addr]int
}

// enter counts one more, or returns the limit that stands against it.
func (c *crowd) enter(source netip.Addr) (limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.all >= maxPeers:
		return maxPeers
	case c.sources[source] >= maxSource:
		return maxSource
	}
	if c.sources == nil {
		c.sources = map[netip.Addr]int{}
	}
	c.all++
	c.sources[source]++
	return 0
}

// leave counts one less.
func (c *crowd) leave(source netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.sources[source]--; c.sources[source] == 0 {
		delete(c.sources, source)
	}
}

// hangUp closes with a reset: nobody was reached.
func hangUp(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// patience is how long to wait for a board.
func (a *Agent) patience(board s4t.BoardID) time.Duration {
	if a.opener.Has(board) {
		return boardTimeout
	}
	return absentBoard
}

// serveStream joins a user's rtunnel to a stream of the board that the ticket
// is for. The board gets the same ticket and judges for itself. It may have no
// rtunnel yet, for the request for the ticket is what makes it bring one.
func (a *Agent) serveStream(ctx context.Context, t wire.Ticket, text string, conn *rtunnel.Conn) {
	user := stream.New(conn)
	alive, done := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { conn.Keepalive(alive, userPing, userTimeout) })
	defer running.Wait()
	defer done()
	opening, cancel := context.WithTimeout(ctx, boardTimeout)
	defer cancel()
	opened, err := a.opener.Connect(opening, ctx, t.Board, text, user, user.Admit)
	if !opened {
		user.CloseWithRefusal(err)
	}
	if err != nil {
		a.cfg.Log.Info("a user's stream ended", "board", t.Board, "opened", opened, "err", err)
	}
}
