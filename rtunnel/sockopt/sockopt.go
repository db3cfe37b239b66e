// Package sockopt sets and reads TCP options of connections that TLS and our
// own wrappers hide (tcp(7)). Where a system has no such option, setting it
// does nothing.
package sockopt

import (
	"net"
	"syscall"
)

// withSocket calls f with the socket under c, looking through TLS and our own
// wrappers. A connection that has none (a test's pipe) is left alone.
func withSocket(c net.Conn, f func(syscall.RawConn) error) error {
	for {
		if sc, ok := c.(syscall.Conn); ok {
			rc, err := sc.SyscallConn()
			if err != nil {
				return err
			}
			return f(rc)
		}
		u, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = u.NetConn()
	}
}
