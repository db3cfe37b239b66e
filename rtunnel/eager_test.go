package rtunnel

import (
	"net"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel/park"
)

// TestEagerReadingNeverWaits: it is parked between messages, and in the middle of one.
func TestEagerReadingNeverWaits(t *testing.T) {
	if !park.Supported {
		t.Skip("nobody is parked on this system")
	}
	for _, secure := range []bool{false, true} {
		name := "TCP"
		if secure {
			name = "TLS"
		}
		t.Run(name, func(t *testing.T) {
			var a, b net.Conn
			if secure {
				b, a = tlsPair(t)
			} else {
				a, b = loopback.Pair(t)
			}
			c := NewConn(a, nil, false)
			var poller park.Poller
			c.ParkWith(&poller)
			c.ParkEagerly()
			frame := make([]byte, 256)
			frame = frame[:putFrame(frame, OpBinary, []byte("hello"), newKeys())]
			for _, part := range [][]byte{frame, frame[:1], frame[1:7], frame[7:]} {
				if _, _, err := c.ReadMessage(); err != park.ErrParked {
					t.Fatalf("reading nothing gave %v", err)
				}
				woken := make(chan struct{})
				c.Park(func() { close(woken) })
				if _, err := b.Write(part); err != nil {
					t.Fatal(err)
				}
				select {
				case <-woken:
				case <-time.After(time.Minute):
					t.Fatal("it is not woken")
				}
				if len(part) == len(frame) || &part[len(part)-1] == &frame[len(frame)-1] {
					op, p, err := c.ReadMessage()
					if op != OpBinary || string(p) != "hello" || err != nil {
						t.Errorf("read %d %q, %v", op, p, err)
					}
				}
			}
			c.Close()
			b.Close()
			poller.Wait()
		})
	}
}
