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
	"github.com/stack4things/s4t/registration"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// The second sequence of the paper (remote access), on the tunnel agent: who
// connects to a public port, or comes with a ticket for a stream, is joined to
// a stream of the board.

const (
	boardTimeout = 8 * time.Second // for the board to open a stream
	absentBoard  = 2 * time.Second // the same while it has no rtunnel at all: it may be about to come back
	userPing     = 20 * time.Second
	userTimeout  = 60 * time.Second
)

// peerKeepAlive finds a user that has gone without a word within 45 s.
var peerKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// exposures are the public ports that listen.
type exposures struct {
	agent *Agent

	mu  sync.Mutex // guards the map; only apply changes it
	all map[s4t.ServiceID]*exposure
}

// exposure is a public port that listens.
type exposure struct {
	agent    *Agent
	board    s4t.BoardID
	lease    s4t.LeaseID // by which it is; empty: it is of the board's own project
	id       s4t.ServiceID
	tcpPort  int
	listener net.Listener
	ticket   atomic.Pointer[string]
	visitors visitors

	ctx     context.Context // ends with the exposure: its streams break
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newExposures(a *Agent) *exposures {
	return &exposures{agent: a, all: map[s4t.ServiceID]*exposure{}}
}

// apply implements reconciler.
func (xs *exposures) apply(rd *round, changed []wire.Resource) {
	type exposable struct {
		id   s4t.ServiceID
		want wire.TunnelExposure
	}
	var coming []exposable
	each(rd, changed, func(id string) { xs.hide(rd, s4t.ServiceID(id)) }, func(text string, want wire.TunnelExposure) error {
		id := s4t.ServiceID(text)
		if x := xs.all[id]; x != nil {
			if want.PublicPort == x.tcpPort && want.Board == x.board {
				x.ticket.Store(&want.Ticket)
				return nil
			}
			xs.hide(rd, id)
		}
		coming = append(coming, exposable{id, want})
		return nil
	})
	for _, c := range coming { // last, so that the numbers of the others are free
		x, err := xs.agent.expose(rd.lease, c.id, c.want)
		if err != nil {
			rd.fail(wire.ResourceKey{Kind: wire.KindService, ID: string(c.id)}, err)
			continue
		}
		xs.mu.Lock()
		xs.all[c.id] = x
		xs.mu.Unlock()
	}
}

// hide closes a public port, if it is there, and breaks its streams.
func (xs *exposures) hide(rd *round, id s4t.ServiceID) {
	x := xs.all[id]
	if x == nil {
		return
	}
	xs.mu.Lock()
	delete(xs.all, id)
	xs.mu.Unlock()
	x.cancel()
	x.listener.Close()
	rd.end(x.running.Wait)
}

// state implements reconciler: up while it listens.
func (xs *exposures) state(id string) (up bool, problem error) {
	xs.mu.Lock()
	defer xs.mu.Unlock()
	return xs.all[s4t.ServiceID(id)] != nil, nil
}

// expose opens a public port that ends with ctx.
func (a *Agent) expose(ctx context.Context, id s4t.ServiceID, w wire.TunnelExposure) (*exposure, error) {
	op := "open public port " + strconv.Itoa(w.PublicPort)
	if !a.cfg.PublicPorts.Has(w.PublicPort) {
		return nil, s4t.Errorf(s4t.Invalid, op, "expose the service again", "it is not in the range %s of this tunnel agent", a.cfg.PublicPorts)
	}
	release, ok := a.cfg.Descriptors.Acquire(1)
	if !ok {
		return nil, fullUp(op)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(a.cfg.ListenHost, strconv.Itoa(w.PublicPort)))
	if err != nil {
		release()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, diagnosed{s4t.Errorf(s4t.Conflict, op, "free it, or expose the service on another", "another program on the cloud's host uses it"), wire.PublicPortTaken}
	}
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	x := &exposure{agent: a, board: w.Board, lease: w.Lease, id: id, tcpPort: w.PublicPort, listener: l}
	x.ticket.Store(&w.Ticket)
	x.ctx, x.cancel = context.WithCancel(ctx)
	a.handlers.Add(1)
	x.running.Go(func() {
		defer a.handlers.Done()
		defer release()
		x.accept()
	})
	return x, nil
}

// accept takes connections until the exposure ends.
func (x *exposure) accept() {
	log := x.agent.cfg.Log.With("service", x.id)
	stop := context.AfterFunc(x.ctx, func() { x.listener.Close() })
	defer stop()
	defer x.listener.Close()
	var backoff registration.Backoff
	for {
		c, err := x.listener.Accept()
		if x.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, most likely
			wait := backoff.Next()
			x.agent.strangers.accept.Warn(log, "a public port cannot accept", "err", err, "retry_in", wait)
			select {
			case <-x.ctx.Done():
				return
			case <-time.After(wait):
			}
			continue
		}
		backoff = registration.Backoff{}
		tcp := c.(*net.TCPConn)
		peer := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		leave, err := x.admit(s4t.SourceOf(peer))
		if err != nil {
			hangUp(tcp)
			x.agent.strangers.crowded.Warn(log, "a connection to a public port was refused", "peer", peer, "err", err)
			continue
		}
		x.agent.handlers.Add(1)
		x.running.Add(1)
		go x.join(tcp, peer, leave)
	}
}

// join joins a user's connection to a stream of the board. It has been counted
// until leave is called.
func (x *exposure) join(tcp *net.TCPConn, peer netip.Addr, leave func()) {
	ended := func(err error) {
		if err != nil {
			x.agent.cfg.Log.Debug("a stream ended", "service", x.id, "peer", peer, "err", err)
		}
		leave()
		x.agent.handlers.Done()
		x.running.Done()
	}
	tcp.SetKeepAliveConfig(peerKeepAlive)
	ctx, cancel := context.WithTimeout(x.ctx, x.agent.patience(x.board))
	defer cancel()
	opened, err := x.agent.opener.Open(ctx, x.ctx, stream.Asked{Board: x.board, Ticket: *x.ticket.Load(), Source: peer, Local: tcp}, ended)
	if !opened {
		hangUp(tcp)
		ended(err)
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
	opened := false
	end, err := a.streams.begin(t.Board, t.Lease, 0)
	if err == nil {
		defer end()
		opened, err = a.opener.Connect(opening, ctx, stream.Asked{Board: t.Board, Ticket: text, Local: user, Admit: user.Admit})
	}
	if !opened {
		user.CloseWithRefusal(err)
	}
	if err != nil {
		a.cfg.Log.Info("a user's stream ended", "board", t.Board, "opened", opened, "err", err)
	}
}
