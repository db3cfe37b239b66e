// Package rawio is read(2) and write(2) on descriptors that never block.
//
// A system call made the usual way tells the Go scheduler that the thread may
// be away for long. Moving a quarter of a megabyte takes longer than the 20 µs
// after which the scheduler believes it and wakes another thread in its place,
// for nothing: the thread comes back before the other one has begun. On a busy
// data path that was half of all wake-ups. These calls do not tell it; so they
// are for descriptors in non-blocking mode only, where a call is but work.
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
