//go:build !unix

package rtunnel

import "net"

// initRaw does nothing: there is no reading by descriptor here.
func (c *Conn) initRaw() {}

// fillRaw is never called, as raw is never set.
func (c *Conn) fillRaw() (int, error) { return c.fillRead() }

// initRaw does nothing, too.
func (b *recordBatch) initRaw() {}

// readAhead is never called, as raw is never set.
func (b *recordBatch) readAhead() error { return nil }

// rawReader is not to be had on this system.
func rawReader(*net.TCPConn) func(class int) (*buffer, int, error) { return nil }
