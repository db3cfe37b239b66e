//go:build unix && (!linux || race)

package rawio

import "syscall"

// The race detector takes what one goroutine writes to a socket and another one
// reads from it for an order between the two; it sees that in these calls only.

// Read is read(2), made the usual way.
func Read(fd int, p []byte) (int, error) { return retry(syscall.Read, fd, p) }

// Write is write(2), made the usual way.
func Write(fd int, p []byte) (int, error) { return retry(syscall.Write, fd, p) }

func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
