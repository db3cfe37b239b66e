//go:build unix

package rtunnel

import (
	"os"
	"syscall"

	"github.com/stack4things/s4t/rawio"
)

// use makes w write by the descriptor of raw.
func (w *rawWriter) use(raw syscall.RawConn) {
	w.raw = raw
	w.step = func(fd uintptr) bool { // called by the poller: false means wait until the kernel takes more
		for len(w.rest) > 0 {
			n, err := rawio.Write(int(fd), w.rest)
			w.rest = w.rest[n:]
			if err == syscall.EAGAIN {
				w.full = true
				return w.once
			}
			if err != nil {
				w.err = os.NewSyscallError("write", err)
				return true
			}
		}
		return true
	}
}
