package park

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported says whether this system can park.
const Supported = true

// Poller waits for all who are parked: an epoll(7) that one goroutine waits for
// on behalf of all. It has neither while nobody is parked. The zero value is
// ready to use.
type Poller struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	file   *os.File   // the epoll
	next   uint64
	parked map[uint64]parked // by Waiter.id
}

// Wait returns when nobody is parked and the goroutine has ended.
func (p *Poller) Wait() { p.running.Wait() }

// parked is a Waiter that is parked.
type parked struct {
	waiter *Waiter
	raw    syscall.RawConn
	wake   func()
}

// Park calls wake, in a goroutine of its own, when raw has something to read or
// ended, or Wake is called.
func (w *Waiter) Park(raw syscall.RawConn, wake func()) {
	p := w.poller
	p.mu.Lock()
	defer p.mu.Unlock()
	w.parked.Store(true)
	if p.file == nil && !p.open() {
		w.parked.Store(false)
		go wake()
		return
	}
	p.next++
	w.id = p.next
	p.parked[p.next] = parked{w, raw, wake}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(p.next), Pad: int32(p.next >> 32)}
	if p.control(raw, unix.EPOLL_CTL_ADD, &event) != nil { // closed in the same moment
		p.wake(p.next)
	}
}

// open makes the epoll. p.mu is held.
func (p *Poller) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	unix.SetNonblock(fd, true) // so that the runtime waits for it as for a socket
	p.file, p.parked = os.NewFile(uintptr(fd), "epoll"), map[uint64]parked{}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		p.file = nil
		return false
	}
	p.running.Go(func() { p.watch(raw) })
	return true
}

// control is epoll_ctl(2) with the descriptor of raw.
func (p *Poller) control(raw syscall.RawConn, op int, event *unix.EpollEvent) (err error) {
	epoll, e := p.file.SyscallConn()
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
func (p *Poller) watch(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 64)
	n := 0
	poll := func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), events, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}
	for raw.Read(poll) == nil {
		p.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			p.wake(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
		p.mu.Unlock()
	}
}

// wake wakes who is parked as id, and closes the epoll after the last. p.mu is
// held.
func (p *Poller) wake(id uint64) {
	w, ok := p.parked[id]
	if !ok { // it was woken in the same moment
		return
	}
	delete(p.parked, id)
	p.control(w.raw, unix.EPOLL_CTL_DEL, nil) // who is closed has gone by itself
	w.waiter.parked.Store(false)
	if len(p.parked) == 0 {
		p.file.Close()
		p.file = nil
	}
	go w.wake()
}

// Wake wakes w if it is parked. What it waits for has been closed, which epoll
// does not tell.
func (w *Waiter) Wake() {
	if !w.parked.Load() {
		return
	}
	w.poller.mu.Lock()
	defer w.poller.mu.Unlock()
	if parked, ok := w.poller.parked[w.id]; ok && parked.waiter == w {
		w.poller.wake(w.id)
	}
}
