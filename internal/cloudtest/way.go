package cloudtest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// Way is a board's way to the cloud: an HTTP proxy that can be cut.
type Way struct {
	listener net.Listener
	cloud    *Cloud
	serving  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	cut   bool
	conns map[net.Conn]bool
}

// newWay opens a way to a cloud.
func newWay(c *Cloud) (*Way, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Way{listener: l, cloud: c, conns: map[net.Conn]bool{}}
	w.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.serving.Go(func() { w.serve(conn) })
		}
	})
	return w, nil
}

// url of the proxy.
func (w *Way) url() string { return "http://" + w.listener.Addr().String() }

// keep notes a connection, to be closed when the way is cut; false where it
// is.
func (w *Way) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	w.conns[c] = true
	return true
}

func (w *Way) forget(c net.Conn) {
	c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *Way) serve(board net.Conn) {
	defer w.forget(board)
	if !w.keep(board) {
		return
	}
	br := bufio.NewReader(board)
	req, err := http.ReadRequest(br)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	cloud, err := w.cloud.Dial(context.Background(), "tcp", req.Host)
	if err != nil {
		io.WriteString(board, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer w.forget(cloud)
	if !w.keep(cloud) {
		return
	}
	io.WriteString(board, "HTTP/1.1 200 OK\r\n\r\n")
	var up sync.WaitGroup
	up.Go(func() { io.Copy(cloud, br); cloud.Close() })
	io.Copy(board, cloud)
	board.Close()
	up.Wait()
}

// Cut ends every connection and lets none through until Heal.
func (w *Way) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		c.Close()
	}
}

// Heal lets connections through again.
func (w *Way) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// isCut reports whether it is cut.
func (w *Way) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// close ends it for good.
func (w *Way) close() {
	w.Cut()
	w.listener.Close()
	w.serving.Wait()
}
