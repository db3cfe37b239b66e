//go:build unix

package rtunnel

import (
	"io"
	"net"
	"syscall"

	"github.com/stack4things/s4t/rawio"
)

// rawReader is borrowingReader for a TCP connection; nil if its descriptor
// cannot be had.
func rawReader(tcp *net.TCPConn) func(class int) (*buffer, int, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var (
		class   int
		b       *buffer
		n       int
		readErr error
	)
	try := func(fd uintptr) bool {
		b = lend(class)
		n, readErr = rawio.Read(int(fd), b.b[maxMaskedHeader:maxMaskedHeader+room(b)])
		if readErr == syscall.EAGAIN {
			giveBack(b)
			b = nil
			return false
		}
		return true
	}
	return func(want int) (*buffer, int, error) {
		class, b, n, readErr = want, nil, 0, nil
		err := raw.Read(try)
		switch {
		case err != nil:
			if b != nil {
				giveBack(b)
			}
			return nil, 0, err
		case readErr != nil:
			return b, 0, readErr
		case n == 0:
			return b, 0, io.EOF
		}
		return b, n, nil
	}
}
