package fuse

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rawio"
)

// Bounds of a server.
const (
	maxFiles   = 1 << 16 // open at a time; more are refused with ENFILE
	maxWaiting = 1000    // reads and writes that wait at a time; more are refused with ENOBUFS
)

// Server serves one mount. It is made by [Mount].
type Server struct {
	fs       FileSystem
	dir      string
	cfg      Config
	log      *slog.Logger
	fd       int    // /dev/fuse: open until the last one who uses it is gone
	wake     int    // a write of 8 bytes to it ends read: the connection's abort file, or an eventfd(2)
	polls    bool   // read waits in poll(2), for an eventfd
	device   string // MAJOR:MINOR of the mount
	byHelper bool   // fusermount3 mounted it, and unmounts it

	// Of the reader alone:
	in, out   []byte         // a request and its reply
	polled    [2]unix.PollFd // fd and wake
	files     []*file
	free      []uint64 // places in files
	open      int
	noOpendir bool

	base   context.Context // ends with the mount
	cancel context.CancelFunc

	mu      sync.Mutex // guards the fields below; never held during a system call
	waiting map[uint64]context.CancelFunc
	over    bool           // no more messages and nobody else who waits
	busy    sync.WaitGroup // who waits, and messages under way
}

// newServer returns a server of a descriptor of /dev/fuse, which is its own from
// here on, as is abort: the abort file of the connection, or -1.
func newServer(cfg Config, fd, abort int) (*Server, error) {
	wake := abort
	if abort < 0 {
		err := syscall.SetNonblock(fd, true)
		if err == nil {
			wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		}
		if err != nil {
			syscall.Close(fd)
			return nil, err
		}
	}
	s := &Server{fs: cfg.FileSystem, dir: cfg.Dir, cfg: cfg, log: cfg.Log, fd: fd, wake: wake, polls: abort < 0,
		in: make([]byte, requestBytes), out: make([]byte, sizeReply+maxRead),
		waiting: make(map[uint64]context.CancelFunc)}
	s.polled = [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	s.base, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// close closes its descriptors; what is still asked is aborted: ECONNABORTED.
func (s *Server) close() {
	s.cancel()
	syscall.Close(s.fd)
	syscall.Close(s.wake)
}

// Serve answers requests until ctx ends or somebody unmounts. It unmounts then,
// whoever has files open, and returns when all is released: nil, unless the
// kernel said something that nobody expects. It is called once, also where the
// mount is not wanted any more, with a ctx that has ended.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.stop()
	})
	err := s.read()
	if !unhook() {
		<-stopped
	}
	s.quiet()
	s.close()
	s.unmount() // it is dead, and still there, where another process forced it
	for _, f := range s.files {
		if f != nil {
			f.unref()
		}
	}
	return err
}

// read answers requests until the mount is gone, or stop wakes it.
func (s *Server) read() error {
	for {
		msg, err := s.next()
		switch err {
		case nil:
		case syscall.ENODEV, syscall.ECONNABORTED, errStopped: // unmounted
			return nil
		default:
			return s4t.Errorf(s4t.Internal, "serve the files at "+s.dir, "", "read %s: %w", devFuse, err)
		}
		if reply := s.answer(msg); reply != nil {
			s.reply(reply)
		}
	}
}

// errStopped is what next returns once stop was called.
var errStopped = errors.New("stopped")

// next waits for a request, which lies in s.in until the next one.
//
// A read(2) that waits is ended only by an abort of the connection: while
// somebody has a file open, unmounting does not. Where nothing can be aborted
// (a user namespace) it waits in poll(2), on an eventfd too, which costs a third more.
func (s *Server) next() ([]byte, error) {
	for {
		if s.polls {
			s.polled[0].Revents, s.polled[1].Revents = 0, 0
			if _, err := unix.Poll(s.polled[:], -1); err != nil && err != syscall.EINTR {
				return nil, err
			}
			if s.polled[1].Revents != 0 {
				return nil, errStopped
			}
		}
		n, err := syscall.Read(s.fd, s.in)
		switch err {
		case nil:
			return s.in[:n], nil
		case syscall.EINTR, syscall.EAGAIN, syscall.ENOENT: // ENOENT: given up before it was read
		default:
			return nil, err
		}
	}
}

// reply writes a reply. It does not block. Where the asker is gone, the kernel
// says ENOENT, and after an unmount ENODEV; neither matters.
func (s *Server) reply(b []byte) {
	if _, err := rawio.Write(s.fd, b); err != nil && err != syscall.ENOENT && err != syscall.ENODEV {
		s.log.Warn("the kernel took no reply", "dir", s.dir, "error", err)
	}
}

// stop unmounts, and ends read: after the messages that are under way, which may
// wait for it to answer.
func (s *Server) stop() {
	s.unmount()
	s.quiet()
	one := []byte{7: 1} // in either order of bytes it is not 0
	_, _ = rawio.Write(s.wake, one)
}
