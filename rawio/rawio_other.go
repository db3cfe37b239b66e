//go:build unix && !linux

package rawio

import "syscall"

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
