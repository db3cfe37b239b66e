package rtunnel

import (
	"net"
	"syscall"
)

// rawWriter writes to a connection, by its descriptor where it has one. It is
// guarded by the lock of its owner.
type rawWriter struct {
	nc   net.Conn
	raw  syscall.RawConn       // nil: there is no descriptor
	step func(fd uintptr) bool // for raw
	once bool                  // whatever the kernel takes now is enough
	rest []byte                // still to be written
	full bool                  // the kernel took no more; its reader clears it
	err  error
}

// write writes p, waiting as long as it takes.
func (w *rawWriter) write(p []byte) error {
	if w.raw == nil {
		_, err := w.nc.Write(p)
		return err
	}
	_, err := w.run(p, false)
	return err
}

// try writes as much of p as the kernel takes at once, and returns how much.
// It needs raw.
func (w *rawWriter) try(p []byte) (int, error) { return w.run(p, true) }

// run runs step for p.
func (w *rawWriter) run(p []byte, once bool) (int, error) {
	w.rest, w.once, w.err = p, once, nil
	err := w.raw.Write(w.step)
	n := len(p) - len(w.rest)
	w.rest = nil
	if err == nil {
		err = w.err
	}
	return n, err
}
