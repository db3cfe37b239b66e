package fuse

import (
	"context"
	"sync/atomic"
	"syscall"
)

// maxWaitingRead bounds the bytes of a read that waits: there may be many.
const maxWaitingRead = 4096

// later is what reading and writing return when the reply comes from another
// goroutine: no errno of a kernel.
const later = syscall.Errno(1 << 30)

// file is an open file and who uses it.
type file struct {
	File
	refs atomic.Int32 // the kernel's, and one for each who waits

	kh   uint64 // by which the kernel knows who polls it
	wake func() // nil until somebody polls it
}

func (f *file) unref() {
	if f.refs.Add(-1) == 0 {
		f.Release()
	}
}

// file returns an open file by the number that its OPEN was answered with.
func (s *Server) file(fh uint64) *file {
	if fh >= uint64(len(s.files)) {
		return nil
	}
	return s.files[fh]
}

func (s *Server) openFile(h header, body []byte) (int, syscall.Errno) {
	if len(body) < 8 {
		return 0, syscall.EINVAL
	}
	if s.open >= maxFiles {
		return 0, syscall.ENFILE
	}
	flags := order.Uint32(body)
	opened, errno := s.fs.Open(h.node, flags, h.caller)
	if errno != 0 {
		return 0, errno
	}
	if flags&syscall.O_TRUNC != 0 {
		s.forgetInode(h.node, -1) // the kernel takes the size for 0 now
	}
	f := &file{File: opened}
	f.refs.Store(1)
	var fh uint64
	if n := len(s.free); n > 0 {
		fh, s.free = s.free[n-1], s.free[:n-1]
		s.files[fh] = f
	} else {
		fh = uint64(len(s.files))
		s.files = append(s.files, f)
	}
	s.open++
	b := s.out[sizeReply:][:16]
	clear(b)
	order.PutUint64(b, fh)
	order.PutUint32(b[8:], openDirectIO)
	return 16, 0
}

func (s *Server) releaseFile(body []byte) syscall.Errno {
	if len(body) < 8 {
		return syscall.EINVAL
	}
	fh := order.Uint64(body)
	f := s.file(fh)
	if f == nil {
		return syscall.EBADF
	}
	s.files[fh], s.free, s.open = nil, append(s.free, fh), s.open-1
	f.unref()
	return 0
}

// readFile answers READ in place. A reply longer than what was asked for would
// make the read fail with EIO. What would fill the page cache (sendfile(2),
// mmap(2)) is refused, as it would be old the next time: programs that get EINVAL from
// sendfile(2) read(2) instead.
func (s *Server) readFile(h header, body []byte) (int, syscall.Errno) {
	t, ok := parseTransfer(body)
	if !ok {
		return 0, syscall.EINVAL
	}
	f := s.file(t.fh)
	if f == nil {
		return 0, syscall.EBADF
	}
	if t.flags&readByProgram == 0 {
		return 0, syscall.EINVAL
	}
	size := min(int(t.size), maxRead)
	//lint:ignore SA1012 nil is what File promises to understand: do not wait
	n, errno := f.Read(nil, s.out[sizeReply:][:size], t.offset)
	if errno == syscall.EAGAIN {
		return s.wait(h, f, func(ctx context.Context) ([]byte, syscall.Errno) {
			b := make([]byte, sizeReply+min(size, maxWaitingRead))
			n, errno := f.Read(ctx, b[sizeReply:], t.offset)
			return b[:sizeReply+min(max(n, 0), len(b)-sizeReply)], errno
		})
	}
	return min(max(n, 0), size), errno
}

// writeFile answers WRITE in place.
func (s *Server) writeFile(h header, body []byte) (int, syscall.Errno) {
	t, ok := parseTransfer(body)
	if !ok || uint64(t.size) != uint64(len(body)-sizeReadIn) {
		return 0, syscall.EINVAL
	}
	f := s.file(t.fh)
	if f == nil {
		return 0, syscall.EBADF
	}
	p := body[sizeReadIn:]
	//lint:ignore SA1012 nil is what File promises to understand: do not wait
	n, errno := f.Write(nil, p, t.offset)
	if errno == syscall.EAGAIN {
		p = append([]byte(nil), p...)
		return s.wait(h, f, func(ctx context.Context) ([]byte, syscall.Errno) {
			n, errno := f.Write(ctx, p, t.offset)
			b := make([]byte, sizeReply+8)
			order.PutUint32(b[sizeReply:], uint32(min(max(n, 0), len(p))))
			return b, errno
		})
	}
	b := s.out[sizeReply:][:8]
	clear(b)
	order.PutUint32(b, uint32(min(max(n, 0), len(p))))
	return 8, errno
}

// wait has do make a reply, with room for its header, in a goroutine of its own.
func (s *Server) wait(h header, f *file, do func(context.Context) ([]byte, syscall.Errno)) (int, syscall.Errno) {
	ctx, cancel := context.WithCancel(s.base)
	s.mu.Lock()
	if len(s.waiting) >= maxWaiting || s.over {
		s.mu.Unlock()
		cancel()
		return 0, syscall.ENOBUFS
	}
	s.waiting[h.unique] = cancel
	s.busy.Add(1)
	s.mu.Unlock()
	f.refs.Add(1)
	go func() {
		defer s.busy.Done()
		b, errno := do(ctx)
		s.mu.Lock()
		delete(s.waiting, h.unique)
		s.mu.Unlock()
		switch {
		case errno != 0 && s.base.Err() != nil:
			errno = syscall.ECONNABORTED
		case errno != 0 && ctx.Err() != nil:
			errno = syscall.EINTR
		case errno == syscall.EAGAIN: // it had its ctx
			errno = syscall.EIO
		}
		cancel()
		if errno != 0 {
			b = b[:sizeReply]
		}
		f.unref() // before the reply: the kernel's RELEASE, after it, is the last one then
		putReply(b, h.unique, len(b)-sizeReply, errno)
		s.reply(b)
	}()
	return 0, later
}

// interrupt ends what waits for the request that an INTERRUPT names. There is no
// reply to it.
func (s *Server) interrupt(body []byte) {
	if len(body) < 8 {
		return
	}
	s.mu.Lock()
	cancel := s.waiting[order.Uint64(body)]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// pollFile answers POLL. Where the kernel has somebody who waits, the file is
// given a function that wakes them all: kh is of the open file, whoever polls it.
func (s *Server) pollFile(body []byte) (int, syscall.Errno) {
	if len(body) < sizePollIn {
		return 0, syscall.EINVAL
	}
	f := s.file(order.Uint64(body))
	if f == nil {
		return 0, syscall.EBADF
	}
	var wake func()
	if order.Uint32(body[16:])&pollScheduleWake != 0 {
		if kh := order.Uint64(body[8:]); f.wake == nil || f.kh != kh {
			f.kh, f.wake = kh, func() { s.wakePoll(kh) }
		}
		wake = f.wake
	}
	b := s.out[sizeReply:][:8]
	clear(b)
	order.PutUint32(b, f.Poll(wake))
	return 8, 0
}
