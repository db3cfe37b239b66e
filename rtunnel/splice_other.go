//go:build !linux

package rtunnel

import "io"

// Splicer exists on Linux only.
type Splicer struct{}

// NewSplicer returns nil: splicing is not possible here.
func NewSplicer(*Conn, io.ReadWriteCloser) *Splicer { return nil }

// Close does nothing.
func (*Splicer) Close() {}

// Send is never called, as there is no Splicer.
func (*Splicer) Send() (int, error) { return 0, io.EOF }

// Receive is never called, too.
func (*Splicer) Receive() (int, error) { return 0, nil }
