package fuse

import (
	"context"
	"log/slog"
	"sync"
	"syscall"

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
	device   string // MAJOR:MINOR of the mount
	byHelper bool   // fusermount3 mounted it, and unmounts it

	// Of the reader alone:
	in, out   []byte // a request and its reply
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

// newServer returns a server of a descriptor of /dev/fuse.
func newServer(cfg Config, fd int) *Server {
	s := &Server{fs: cfg.FileSystem, dir: cfg.Dir, cfg: cfg, log: cfg.Log, fd: fd,
		in: make([]byte, requestBytes), out: make([]byte, sizeReply+maxRead),
		waiting: make(map[uint64]context.CancelFunc)}
	s.base, s.cancel = context.WithCancel(context.Background())
	return s
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
	s.cancel()
	s.quiet()
	syscall.Close(s.fd) // aborts what is still asked: ECONNABORTED
	s.unmount()         // dead now, where another process forced it
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
		n, err := syscall.Read(s.fd, s.in)
		switch err {
		case nil:
		case syscall.EINTR, syscall.EAGAIN, syscall.ENOENT: // ENOENT: given up before it was read
			continue
		case syscall.ENODEV, syscall.ECONNABORTED: // unmounted
			return nil
		default:
			return s4t.Errorf(s4t.Internal, "serve the files at "+s.dir, "", "read /dev/fuse: %w", err)
		}
		msg := s.in[:n]
		if h, _, ok := parseHeader(msg); ok && h.op == opNotifyReply {
			return nil
		}
		if reply := s.answer(msg); reply != nil {
			s.reply(reply)
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

// stop unmounts, and ends read, which may be in a read(2) that nothing else
// ends while somebody has a file open: a NOTIFY_RETRIEVE of no bytes of the root
// has the kernel send a request of its own.
func (s *Server) stop() {
	s.unmount()
	s.quiet()
	var b [sizeReply + 40]byte // fuse_notify_retrieve_out
	order.PutUint64(b[sizeReply+8:], uint64(Root))
	s.tell(b[:sizeReply+32], notifyRetrieve) // ENOENT: nobody has a file open, and read ended by itself
}
