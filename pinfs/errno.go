package pinfs

import (
	"context"
	"errors"
	"syscall"

	"github.com/stack4things/s4t"
)

// errno is what a program sees of an error: the one place that says so.
func errno(err error, remote bool) syscall.Errno {
	late := syscall.ETIMEDOUT
	if remote {
		late = syscall.EHOSTUNREACH
	}
	switch s4t.KindOf(err) {
	case "":
		return 0
	case s4t.Invalid:
		return syscall.EINVAL
	case s4t.Forbidden, s4t.Unauthenticated:
		return syscall.EACCES
	case s4t.Conflict:
		return syscall.EBUSY
	case s4t.Stale:
		return syscall.ESTALE
	case s4t.Offline, s4t.Unavailable:
		return syscall.EHOSTUNREACH
	case s4t.NotFound:
		return syscall.ENODEV
	case s4t.Timeout:
		return late
	case s4t.TooMany:
		return syscall.ENOBUFS
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return late
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	}
	return syscall.EIO
}
