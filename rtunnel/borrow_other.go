//go:build !unix

package rtunnel

import "net"

// rawReader is not available on this system.
func rawReader(*net.TCPConn) func(class int) (*buffer, int, error) { return nil }
