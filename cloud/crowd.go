package cloud

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stack4things/s4t/rtunnel/sockopt"
)

const (
	// backlog is how many connections the kernel holds that were not accepted yet.
	backlog = 1024
	// unreadTime is how long an accepted connection of which nothing was read counts
	// as one that is about to be.
	unreadTime = 100 * time.Millisecond
	// maxHello is as much of a first message as is looked at here: a board's has some
	// hundred bytes, an earlier one's 1,700.
	maxHello = 2048
)

// crowdListener accepts for the gate: in a crowd, boards that find no room are sent
// away here, before anything is made for them, and connections whose peers have left
// while they waited are dropped. So users, who come by the same port, do not wait in
// the kernel behind a crowd of boards.
type crowdListener struct {
	net.Listener
	gate *gate
}

func newCrowdListener(l net.Listener, g *gate) crowdListener {
	if c, ok := l.(syscall.Conn); ok {
		_ = sockopt.SetBacklog(c, backlog) // where it fails, more or fewer wait
	}
	return crowdListener{l, g}
}

// Accept implements net.Listener.
func (l crowdListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return c, err
		}
		if sockopt.Left(c) || l.gate.turnsAway(c) {
			c.Close()
			continue
		}
		l.gate.unread.add(c)
		return c, nil
	}
}

// turnsAway sends an accepted connection away with a turn where it is a board's that
// finds no room, and has said so already. What it said is read then: to close the
// connection would discard the answer otherwise.
func (g *gate) turnsAway(c net.Conn) bool {
	source := sourceOf(c.RemoteAddr())
	g.mu.Lock()
	room := g.room(source, g.unread.count())
	g.mu.Unlock()
	if room {
		return false
	}
	hello := make([]byte, maxHello)
	n := sockopt.Peek(c, hello)
	if n == len(hello) || !wantsSession(offers(hello[:n])) {
		return false
	}
	c.SetReadDeadline(time.Now().Add(time.Second)) // it is there
	if _, err := io.ReadFull(c, hello[:n]); err == nil {
		_ = g.busy(c, source) // is for who asks in a handshake
	}
	return true
}

// wantsSession reports whether that is what a board offers that wants a session: see
// handshakes.admit.
func wantsSession(protocols []string) bool {
	return len(protocols) == 1 && protocols[0] == "http/1.1"
}

// offers returns what the client offers (ALPN) in a whole first message of TLS.
func offers(hello []byte) []string {
	c := &flight{r: bytes.NewReader(hello)}
	_ = tls.Server(c, flightConfig).Handshake() // ends with errSeen, or because there is no more
	return c.offers
}

// flight is a connection on which a client's first message came and no more will.
type flight struct {
	net.Conn // nil: a handshake that ends at its first message needs nothing of it
	r        *bytes.Reader
	offers   []string
}

var errSeen = errors.New("the client's first message was seen")

var flightConfig = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
	h.Conn.(*flight).offers = h.SupportedProtos
	return nil, errSeen
}}

// Read implements net.Conn.
func (f *flight) Read(p []byte) (int, error) { return f.r.Read(p) }

// Write implements net.Conn; an alert is for nobody.
func (f *flight) Write(p []byte) (int, error) { return len(p), nil }

// unread are the accepted connections of which nothing was read yet: those of boards
// are about to wait at the gate.
type unread struct {
	conns sync.Map // as keys
	n     atomic.Int64
}

func (u *unread) count() int { return int(u.n.Load()) }

func (u *unread) add(c net.Conn) {
	u.n.Add(1)
	u.conns.Store(c, nil)
	time.AfterFunc(unreadTime, func() { u.read(c) })
}

// read notes that a connection says something.
func (u *unread) read(c net.Conn) {
	if n, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = n.NetConn()
	}
	if _, ok := u.conns.LoadAndDelete(c); ok { // once
		u.n.Add(-1)
	}
}
