package rtunnel

import (
	"io"
)

// HalfCloser is one end of a byte stream whose directions end one by one:
// a *net.TCPConn, a [*Stream], standard input and output.
type HalfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}
