package rtunnel

import (
	"bytes"
	"net"
	"testing"
)

// laid is a run of messages laid out for one write.
type laid struct {
	l *Layout
	b []byte
}

func layFor(c *Conn, limit int) *laid { return &laid{c.NewLayout(), make([]byte, 0, limit)} }

// add lays out one more message and reports whether there was room.
func (r *laid) add(p []byte) bool {
	n := len(r.b)
	if cap(r.b)-n < len(p)+MaxOverhead {
		return false
	}
	r.b = r.b[:n+r.l.Put(r.b[n:cap(r.b)], p)]
	return true
}

// send writes the run and empties it.
func (r *laid) send(c *Conn) error {
	err := c.WriteFrames(r.b)
	r.b = r.b[:0]
	return err
}

func TestAMessageFilledInPlaceIsTheSame(t *testing.T) {
	for _, client := range []bool{true, false} {
		a, b := net.Pipe()
		c := NewConn(a, nil, client)
		peer := NewConn(b, nil, !client)
		l := c.NewLayout()
		for _, n := range []int{0, 1, 125, 126, 255, 256, 1500, 65535, 65536} {
			want := bytes.Repeat([]byte{byte(n), 1, 2, 3, 4}, n/5+1)[:n]
			dst := make([]byte, n+MaxOverhead)
			copy(l.Begin(dst, n), want)
			size := l.End()
			go c.WriteFrames(dst[:size])
			op, got, err := peer.ReadMessage()
			if err != nil || op != OpBinary || !bytes.Equal(got, want) {
				t.Fatalf("client %v, %d bytes: %v, %d bytes, %v", client, n, op, len(got), err)
			}
		}
		c.Close()
		peer.Close()
	}
}
