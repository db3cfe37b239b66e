package rtunnel

import "golang.org/x/sys/unix"

const canRest = true

// readable reports whether a read would return at once. It needs little stack.
func readable(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}
