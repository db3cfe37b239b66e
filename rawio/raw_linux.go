//go:build linux && !race

package rawio

import (
	"syscall"
	"unsafe"
)

// Read is read(2). fd must be in non-blocking mode. The error is a
// [syscall.Errno]; making it allocates nothing.
func Read(fd int, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

// Write is write(2). fd must be in non-blocking mode. The error is a
// [syscall.Errno]; making it allocates nothing.
func Write(fd int, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

// call makes the system call again where a signal interrupted it.
func call(number uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, e
	}
}
