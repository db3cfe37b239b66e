//go:build unix

package descriptors

import (
	"math"

	"golang.org/x/sys/unix"
)

// Raise raises the limit of open descriptors of this process as far as it may
// without privileges (RLIMIT_NOFILE, soft to hard; setrlimit(2)), and returns
// it; 0 where it is not known. Programs that it starts have the same.
func Raise() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	if r.Cur < r.Max {
		raised := unix.Rlimit{Cur: r.Max, Max: r.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			r = raised
		}
	}
	return int(min(uint64(r.Cur), math.MaxInt32))
}

// lowest is the lowest number that no descriptor has: the next one gets it
// (open(2)).
func lowest() int {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil { // the limit is reached
		return math.MaxInt32
	}
	unix.Close(fd)
	return fd
}
