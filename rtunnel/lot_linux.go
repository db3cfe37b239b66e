package rtunnel

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const canRest = true

// lot is where sleepers are while they rest: an epoll(7) that one goroutine
// waits for on behalf of all. It has neither while nobody rests. The zero value
// is ready to use.
type lot struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	file   *os.File   // the epoll
	next   uint64
	parked map[uint64]parked
}

// parked is a sleeper in a lot.
type parked struct {
	sleeper *sleeper
	raw     syscall.RawConn
	wake    func()
}

// park calls wake, in a goroutine of its own, when raw has something to read or
// ended, or leave is called.
func (s *sleeper) park(raw syscall.RawConn, wake func()) {
	t := s.lot
	t.mu.Lock()
	defer t.mu.Unlock()
	s.resting.Store(true)
	if t.file == nil && !t.open() {
		s.resting.Store(false)
		go wake()
		return
	}
	t.next++
	s.place = t.next
	t.parked[t.next] = parked{s, raw, wake}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(t.next), Pad: int32(t.next >> 32)}
	if t.control(raw, unix.EPOLL_CTL_ADD, &event) != nil { // closed in the same moment
		t.wake(t.next)
	}
}

// open makes the epoll. t.mu is held.
func (t *lot) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	unix.SetNonblock(fd, true) // so that the runtime waits for it as for a socket
	t.file, t.parked = os.NewFile(uintptr(fd), "epoll"), map[uint64]parked{}
	raw, err := t.file.SyscallConn()
	if err != nil {
		t.file.Close()
		t.file = nil
		return false
	}
	t.running.Go(func() { t.watch(raw) })
	return true
}

// control is epoll_ctl(2) with the descriptor of raw.
func (t *lot) control(raw syscall.RawConn, op int, event *unix.EpollEvent) (err error) {
	epoll, e := t.file.SyscallConn()
	if e != nil {
		return e
	}
	e = raw.Control(func(fd uintptr) {
		e := epoll.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, int(fd), event) })
		if e != nil {
			err = e
		}
	})
	if e != nil {
		return e
	}
	return err
}

// watch wakes who has something to read, until the epoll is closed.
func (t *lot) watch(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 64)
	n := 0
	poll := func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), events, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}
	for raw.Read(poll) == nil {
		t.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			t.wake(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
		t.mu.Unlock()
	}
}

// wake wakes who has the place, and closes the epoll after the last. t.mu is
// held.
func (t *lot) wake(place uint64) {
	p, ok := t.parked[place]
	if !ok { // it has left in the same moment
		return
	}
	delete(t.parked, place)
	t.control(p.raw, unix.EPOLL_CTL_DEL, nil) // who is closed has gone by itself
	p.sleeper.resting.Store(false)
	if len(t.parked) == 0 {
		t.file.Close()
		t.file = nil
	}
	go p.wake()
}

// leave wakes s if it rests. What it waits for has been closed, which epoll does
// not tell.
func (s *sleeper) leave() {
	if !s.resting.Load() {
		return
	}
	s.lot.mu.Lock()
	defer s.lot.mu.Unlock()
	if p, ok := s.lot.parked[s.place]; ok && p.sleeper == s {
		s.lot.wake(s.place)
	}
}
