package cloud

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/stack4things/s4t/descriptors"
	"github.com/stack4things/s4t/lograte"
)

// room is how the descriptors of a process are shared out, of limit in all. Of
// the last quarter, at most 5,120, rtunnels and public ports get none: it is for
// the one port, which users and boards' control channels come by, and for the
// database. They have half of the limit at most; a fifth of the limit at most is
// for connections that are nobody's yet. limit 0: it is not known.
func room(limit int) (pool *descriptors.Pool, guests int) {
	if limit == 0 {
		return nil, maxGuests
	}
	reserve := min(limit/4, maxGuests+1024)
	return descriptors.New(limit/2, limit-reserve), min(maxGuests, limit/5)
}

// crowdedPause is between two attempts to accept where no descriptor is left.
const crowdedPause = 20 * time.Millisecond

// roomyListener makes room where no descriptor is left for who comes: the
// quietest guest of the source with the most has to go.
type roomyListener struct {
	net.Listener
	admission *admission
	log       *slog.Logger
	crowded   *lograte.Line
}

// Accept does not return because descriptors are short.
func (l roomyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return c, err
		}
		l.crowded.Warn(l.log, "no descriptor is left for who connects", "err", err)
		l.admission.mu.Lock()
		if len(l.admission.conns) > 0 {
			l.admission.makeRoom()
		}
		l.admission.mu.Unlock()
		time.Sleep(crowdedPause)
	}
}
