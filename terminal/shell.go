package terminal

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
)

const (
	// hangUpGrace is how long a shell has after SIGHUP before it is killed.
	hangUpGrace = 5 * time.Second
	// maxLate bounds what is read of a terminal after its shell has ended, in bytes: others
	// that it began may write for ever.
	maxLate = 256 << 10
)

// Shell is a login shell as the local end of a stream: what is read of it are the frames of the
// board, what is written those of the user. One goroutine at a time may read, one write, and any
// close.
type Shell struct {
	host  *Host
	who   string
	began time.Time
	rec   *recorder // nil: it is not recorded

	in    Decoder       // of what is written; the writer's
	ready chan struct{} // closed when there is a shell, or a problem instead
	gone  chan struct{} // closed by Close

	// Set before ready is closed.
	master  *os.File // nil: there is no shell
	problem string   // why

	exited chan struct{} // closed when the shell has ended, with status
	status uint8

	// The reader's.
	buf     []byte
	pending []byte // of frames
	late    int    // read since the shell ended
	told    bool   // the last frame was said

	closing sync.Once
}

func newShell(h *Host, who string, keep Keep) *Shell {
	return &Shell{host: h, who: who, rec: newRecorder(keep), began: time.Now(), ready: make(chan struct{}), gone: make(chan struct{}), exited: make(chan struct{})}
}

// Read implements io.Reader: frames, and io.EOF behind the last.
func (s *Shell) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		if s.told {
			return 0, io.EOF
		}
		select {
		case <-s.ready:
		case <-s.gone:
			if s.rec.failure() == nil {
				return 0, io.EOF
			}
		}
		if s.buf == nil {
			s.buf = make([]byte, 4<<10) // what a kernel keeps of a terminal
		}
		f, err := s.next()
		if err != nil {
			return 0, err
		}
		s.pending = f.Append(s.pending[:0])
		s.told = f.Kind != Data
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// next is the next frame of the board.
func (s *Shell) next() (Frame, error) {
	if s.master == nil {
		return Frame{Kind: Problem, Problem: s.problem}, nil
	}
	for {
		if err := s.rec.failure(); err != nil {
			return Frame{Kind: Problem, Problem: "the terminal was ended: " + err.Error()}, nil
		}
		var n int
		var err error
		over := false
		select {
		case <-s.exited:
			// Until here it could be waited for; from here on, what is there is read.
			over = true
			s.master.SetReadDeadline(time.Time{})
			if n, err = readNow(s.master, s.buf); s.late+n > maxLate {
				n = 0
			}
			s.late += n
		default:
			n, err = s.master.Read(s.buf)
		}
		switch {
		case n > 0:
			if s.rec.output(s.buf[:n], s.gone) != nil {
				continue
			}
			return Frame{Kind: Data, Data: s.buf[:n]}, nil
		case over:
			s.rec.end()
			return Frame{Kind: Exit, Status: s.status}, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The shell is ending: see wait.
		}
		// Nobody has the terminal open any more (EIO): the shell is about to end, or goes on without.
		select {
		case <-s.exited:
		case <-s.gone:
			if s.rec.failure() == nil {
				return Frame{}, io.EOF
			}
		}
	}
}

// Write implements io.Writer.
func (s *Shell) Write(p []byte) (int, error) {
	if err := s.in.Take(p, s.take); err != nil {
		return 0, err
	}
	return len(p), nil
}

// take does what a frame of the user says.
func (s *Shell) take(f Frame) error {
	begun := false
	select {
	case <-s.ready:
		begun = true
	default:
	}
	switch {
	case f.Kind == Open && !begun:
		s.begin(f)
	case f.Kind == Size && begun && s.master != nil:
		s.rec.resize(f.Columns, f.Rows)
		resize(s.master, f.Columns, f.Rows) // of one that has ended it fails, and is of no use
	case f.Kind == Data && begun && s.master != nil:
		if _, err := s.master.Write(f.Data); err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, os.ErrClosed) {
			return err
		}
	case begun && s.master == nil && (f.Kind == Size || f.Kind == Data): // there is no shell, and the user has yet to hear it
	default:
		return wrong("a frame of the kind %q at this place", byte(f.Kind))
	}
	return nil
}

// begin starts the shell.
func (s *Shell) begin(open Frame) {
	if s.rec != nil {
		s.rec.begin(open)
		s.host.running.Go(s.rec.send)
		s.host.running.Go(func() {
			select {
			case <-s.rec.failed:
			case <-s.rec.ctx.Done(): // it is sent, or that has failed
			}
			if err := s.rec.failure(); err != nil { // an unrecorded shell is not given
				s.host.log.Warn("a terminal is ended", "user", s.host.user, "by", s.who, "err", err)
				s.Close()
			}
		})
	}
	cmd, master, err := s.start(open)
	if err != nil {
		s.problem = "the board could not begin a shell: " + err.Error()
		s.rec.end()
		s.host.log.Warn("a terminal was not opened", "user", s.host.user, "by", s.who, "err", err)
		close(s.ready)
		return
	}
	s.master = master
	s.host.log.Info("a terminal was opened", "user", s.host.user, "by", s.who, "pid", cmd.Process.Pid)
	s.host.running.Go(func() { s.wait(cmd) })
	close(s.ready)
	select {
	case <-s.gone: // Close may not have seen it
		master.Close()
	default:
	}
}

// start makes a pseudo-terminal, and starts the user's shell on it: directly, as a login shell,
// in a session whose terminal it is.
func (s *Shell) start(open Frame) (*exec.Cmd, *os.File, error) {
	a, err := s.host.account()
	if err != nil {
		return nil, nil, err
	}
	master, slave, err := openPTY()
	if err != nil {
		return nil, nil, err
	}
	defer slave.Close()
	err = resize(master, open.Columns, open.Rows)
	if err == nil && os.Geteuid() == 0 {
		// Programs open it by its name too.
		err = slave.Chown(int(a.uid), -1)
	}
	cmd := &exec.Cmd{}
	for _, dir := range []string{a.home, "/"} {
		if err != nil {
			break
		}
		cmd = &exec.Cmd{
			Path: a.shell, Args: []string{"-" + filepath.Base(a.shell)}, Env: a.environment(open.Term), Dir: dir,
			Stdin: slave, Stdout: slave, Stderr: slave,
			SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
		}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
		}
		serr := cmd.Start()
		if serr == nil {
			return cmd, master, nil
		}
		if dir == "/" {
			err = serr
		}
	}
	master.Close()
	return nil, nil, err
}

// wait notes how the shell ends, and has the reader look.
func (s *Shell) wait(cmd *exec.Cmd) {
	var killing *time.Timer
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		select {
		case <-s.gone:
			// The terminal is closed, and the kernel has sent SIGHUP.
			killing = time.AfterFunc(hangUpGrace, func() { cmd.Process.Kill() })
		case <-s.exited:
		}
	}()
	cmd.Wait() // an error is the status
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.status = 128 + uint8(ws.Signal())
	} else {
		s.status = uint8(cmd.ProcessState.ExitCode())
	}
	s.master.SetReadDeadline(time.Now()) // first: who has seen the end takes it back. Of one that is closed it fails
	close(s.exited)
	<-hungUp
	if killing != nil {
		killing.Stop()
	}
	s.host.log.Info("a terminal has ended", "user", s.host.user, "by", s.who, "status", s.status, "after", time.Since(s.began).Round(time.Second))
}

// CloseWrite implements stream.HalfCloser: who types no more has gone.
func (s *Shell) CloseWrite() error { return s.Close() }

// Close implements io.Closer: the shell and what runs in its foreground get SIGHUP, and the shell
// SIGKILL where it goes on after that.
func (s *Shell) Close() error {
	s.closing.Do(func() {
		close(s.gone)
		select {
		case <-s.ready:
			if s.master != nil {
				s.master.Close()
			}
		default: // no frame comes any more, or begin closes it
		}
		s.rec.end()
		s.host.ended()
	})
	return nil
}

// errNoShell is why a board without a terminal opens none.
var errNoShell = s4t.Errorf(s4t.Forbidden, "open a terminal on the board", "its owner can allow it: `lightning-rod run --allow-terminal USER`", "the owner of the board allows no terminals")

// Refused is the error of a board whose owner allows no terminals.
func Refused() error { return errNoShell }
