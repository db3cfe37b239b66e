package amqp

import (
	"net"
	"time"
)

// Times of a connection.
const (
	// heartbeat is how often each side says something, at least.
	heartbeat = 5 * time.Second
	// silence is when a broker that says nothing counts as gone: the library would
	// wait for three heartbeats.
	silence = 2*heartbeat + time.Second
	// writeTimeout is when one that reads nothing does. Without it a write to a
	// broker that has stopped reading never ends.
	writeTimeout = heartbeat
	// dialTimeout bounds the TCP connection.
	dialTimeout = 5 * time.Second
)

// conn is a connection on which nothing waits without end.
type conn struct{ net.Conn }

// Read fails when nothing comes.
func (c conn) Read(b []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write fails when nothing is taken.
func (c conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SetReadDeadline is Read's matter.
func (c conn) SetReadDeadline(time.Time) error { return nil }
