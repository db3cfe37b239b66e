package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A guest that wants more memory than there is for it is ended whole. Where the kernel
// kills one of its processes after the other, the rest of them meanwhile use up a
// processor in the kernel, which no quota of the group holds back. v2 kills the whole
// group by itself (see group.killWhole); v1 tells that it is about to kill somebody, and
// who it was is to be looked for.

// starvedLook is how long after it was told it is looked for whom the kernel has killed: first
// after a millisecond, then after twice as long each time.
const starvedLook = time.Second

// oomEvents is told when the kernel wants memory of groups of v1
// (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control").
type oomEvents struct {
	f  *os.File
	fd int // of f, which its Fd would make blocking
}

func newOOMEvents() (*oomEvents, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &oomEvents{f: os.NewFile(uintptr(fd), "eventfd"), fd: fd}, nil
}

// of has it told of a group, until the group is removed.
func (e *oomEvents) of(g *group) error {
	folder := g.v1[controllerMemory]
	control, err := os.Open(filepath.Join(folder, "memory.oom_control"))
	if err != nil {
		return err
	}
	defer control.Close()
	return writeText(filepath.Join(folder, "cgroup.event_control"), fmt.Sprintf("%d %d", e.fd, control.Fd()))
}

// watchMemory begins to end guests whole where the kernel does not do it by itself. One that
// tells nobody (v1 with PREEMPT_RT) kills one process after the other.
func (s *Sandbox) watchMemory() {
	if s.group.v1[controllerMemory] == "" {
		return
	}
	e, err := newOOMEvents()
	if err != nil {
		s.cfg.Log.Warn("guests that are out of memory are ended one process after the other", "err", err)
		return
	}
	s.oom = e
	_ = e.of(s.group)
	s.watching.Go(s.endStarved)
}

// endStarved ends guests whole until the events are closed.
func (s *Sandbox) endStarved() {
	var told [8]byte // how often, which is nothing to us
	wait := time.Duration(0)
	for {
		until := time.Time{}
		if wait > 0 {
			until = time.Now().Add(wait)
		}
		_ = s.oom.f.SetReadDeadline(until)
		switch _, err := s.oom.f.Read(told[:]); {
		case err == nil:
			wait = time.Millisecond
		case errors.Is(err, os.ErrDeadlineExceeded):
			if wait *= 2; wait > starvedLook {
				wait = 0
			}
		default:
			return
		}
		for _, p := range s.guests() {
			if p.group.ooms() > 0 && !p.starved.Swap(true) {
				p.signalAll(killSignal)
			}
		}
	}
}
