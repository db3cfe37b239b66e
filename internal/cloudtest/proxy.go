package cloudtest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// Proxy is the HTTP proxy that a board reaches the cloud through. It can be cut.
type Proxy struct {
	listener net.Listener
	dial     dialFunc // to the cloud
	serving  sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	cut      bool
	conns    map[net.Conn]bool
	received int64   // bytes that went to the board
	cuts     []int64 // after how many of them one is cut
	cutAll   bool    // all were, once
}

// newProxy opens a proxy to where dial leads.
func newProxy(dial dialFunc) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, dial: dial, conns: map[net.Conn]bool{}}
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(conn) })
		}
	})
	return p, nil
}

// url of the proxy.
func (p *Proxy) url() string { return "http://" + p.listener.Addr().String() }

// keep notes a connection, to be closed when the proxy is cut; false where
// it is.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(board net.Conn) {
	defer p.forget(board)
	if !p.keep(board) {
		return
	}
	br := bufio.NewReader(board)
	req, err := http.ReadRequest(br)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	cloud, err := p.dial(context.Background(), "tcp", req.Host)
	if err != nil {
		io.WriteString(board, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer p.forget(cloud)
	if !p.keep(cloud) {
		return
	}
	io.WriteString(board, "HTTP/1.1 200 OK\r\n\r\n")
	var up sync.WaitGroup
	up.Go(func() { io.Copy(cloud, br); cloud.Close() })
	io.Copy(countedConn{board, p}, cloud)
	board.Close()
	up.Wait()
}

// countedConn counts what goes to the board.
type countedConn struct {
	net.Conn
	p *Proxy
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.received += int64(n)
	if len(c.p.cuts) > 0 && c.p.received >= c.p.cuts[0] {
		c.p.cuts = c.p.cuts[1:]
		c.Conn.Close()
		if !c.p.cutAll {
			c.p.cutAll = true
			for c := range c.p.conns {
				c.Close()
			}
		}
	}
	return n, err
}

// CutAt ends a connection when so many bytes more went to the board, the one that carried
// the last of them, and the first time all others too: a session that is lost again and
// again takes longer each time to come back. New ones are let through at once.
func (p *Proxy) CutAt(bytes ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts, p.cutAll = nil, false
	for _, n := range bytes {
		p.cuts = append(p.cuts, p.received+n)
	}
}

// Received is how many bytes went to the board, and how often it is still to be cut.
func (p *Proxy) Received() (bytes int64, cuts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.received, len(p.cuts)
}

// Cut ends every connection and lets none through until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		c.Close()
	}
}

// Heal lets connections through again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// isCut reports whether it is cut.
func (p *Proxy) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// close ends it for good.
func (p *Proxy) close() {
	p.Cut()
	p.listener.Close()
	p.serving.Wait()
}
