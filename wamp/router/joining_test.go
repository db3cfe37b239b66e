package router

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// TestOneAddressKeepsNobodyElseOut: one address opens every handshake there
// is for those who join, and says nothing; a board from another comes in, and
// one more of that address does not.
func TestOneAddressKeepsNobodyElseOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	flood := websocket.Dialer{Subprotocols: []string{wamp.Subprotocol}, NetDial: func(network, addr string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial(network, addr)
	}}
	var conns []*websocket.Conn
	var mu sync.Mutex
	come := func() error {
		c, rsp, err := flood.Dial("ws://"+w.addr+wamp.Path, nil)
		if err != nil {
			return err
		}
		rsp.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
		return nil
	}
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	begun := time.Now()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range maxHandshakes / 16 {
				if err := come(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := come(); err == nil && time.Since(begun) < s4t.HandshakeTimeout {
		t.Error("that address may open more")
	}
	start := time.Now()
	w.open(w.addr, 0)
	t.Logf("a board came in within %v", time.Since(start).Round(time.Millisecond))
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if took := time.Since(begun); took > s4t.HandshakeTimeout {
		t.Skipf("%v passed until all were open; the first were sent away for saying nothing", took)
	}
	if w.r.joining != maxHandshakes-1 || w.r.joiners["127.0.0.2"] != maxHandshakes-1 || len(w.r.joiners) != 1 {
		t.Errorf("%d are joining: %v", w.r.joining, w.r.joiners)
	}
}
