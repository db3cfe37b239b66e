package park

import (
	"net"
	"testing"

	"github.com/stack4things/s4t/internal/loopback"
)

func TestWhoIsParkedGoesOnWhenSomethingComesOrItIsClosed(t *testing.T) {
	if !Supported {
		t.Skip("nobody is parked on this system")
	}
	for _, tt := range []struct {
		name string
		wake func(w *Waiter, c, peer *net.TCPConn)
		read bool // bytes are there afterwards
	}{
		{"bytes", func(_ *Waiter, _, peer *net.TCPConn) { peer.Write([]byte("x")) }, true},
		{"the peer's end", func(_ *Waiter, _, peer *net.TCPConn) { peer.CloseWrite() }, false},
		{"closed here", func(w *Waiter, c, _ *net.TCPConn) { c.Close(); w.Wake() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := loopback.Pair(t)
			var p Poller
			var w Waiter
			w.Use(&p)
			w.Interrupt(c)
			w.Interrupt(c) // again is as once
			b := make([]byte, 1)
			if _, err := c.Read(b); !w.WasInterrupted(c, err) {
				t.Fatalf("an interrupted read gave %v", err)
			}
			raw, err := c.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			woken := make(chan struct{})
			w.Park(raw, func() { close(woken) })
			if !w.Parked() {
				t.Error("it is not parked")
			}
			w.Interrupt(c) // means nothing to who is parked
			tt.wake(&w, c, peer)
			<-woken
			p.Wait()
			if w.Parked() {
				t.Error("it is parked after it was woken")
			}
			w.Wake() // means nothing to who is not parked
			if n, err := c.Read(b); (n == 1) != tt.read || w.WasInterrupted(c, err) {
				t.Errorf("the next read gave %d bytes, %v", n, err)
			}
		})
	}
}
