package cloud

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// rushLook is how often it is looked whether a rush is over, and minRush how many
	// boards more than before make one.
	rushLook = 5 * time.Second
	minRush  = 250
)

// rush notices that many boards have come. Their handshakes leave some kilobytes each
// of memory that nobody uses, and that the runtime would keep for the next rush, or
// find after minutes: when it is over that memory goes back to the system, once.
type rush struct {
	sessions func() int // how many boards there are
	free     func()     // gives memory back

	was     int // at the last look
	settled int // when memory was given back last, or fewer that there were since
}

func newRush(sessions func() int) *rush { return &rush{sessions: sessions, free: debug.FreeOSMemory} }

// run looks until ctx ends.
func (r *rush) run(ctx context.Context) error {
	tick := time.NewTicker(rushLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.look()
		}
	}
}

// look is one look.
func (r *rush) look() {
	n := r.sessions()
	coming := n - r.was
	r.was, r.settled = n, min(r.settled, n)
	if n-r.settled >= max(minRush, n/8) && coming <= n/100 {
		r.settled = n
		r.free()
	}
}
