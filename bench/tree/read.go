package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/stack4things/s4t/fuse"
)

// reads is how many are timed of a kind, in a round.
const reads = 20000

// server is a program that mounts a folder with a file value.
type server struct {
	name    string
	command []string // the folder comes after it

	held, whole [2][]float64 // µs, of each round: p50 and p99 of a read of an open file, and of open, read and close
}

// measureReads reads a file from another process than the one that serves it: by
// our server, by go-fuse, and on a tmpfs.
func measureReads(ctx context.Context, p *page) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "s4t-bench-pins-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	peer := filepath.Join(tmp, "go-fuse")
	build := exec.CommandContext(ctx, "go", "build", "-o", peer, ".")
	build.Dir = "bench/peers-go/fuse"
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build go-fuse (run it in the repository): %w: %s", err, said)
	}
	servers := []*server{
		{name: "own", command: []string{self, "-serve"}},
		{name: "go-fuse 2.11.0", command: []string{peer}},
		{name: "go-fuse 2.11.0, one goroutine", command: []string{peer, "-single"}},
	}
	var floor [2][]float64
	for range p.rounds {
		if err := wakeUps(&floor); err != nil {
			return err
		}
		for _, s := range servers {
			if err := s.round(ctx, filepath.Join(tmp, "io")); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	p.line("\n## Reading a pin on the board\n")
	p.line("µs, p50 / p99 of %d reads from another process. Targets: 8 and 14 at p50, and half of go-fuse.\n", reads)
	p.line("What two processes that wake each other cost here, whatever they do: a byte through a pipe to cat(1), which is C, and back: %.1f / %.0f.\n", median(floor[0]), median(floor[1]))
	p.line("| server | read of an open file | x of own | open, read, close | x of own |\n|---|---|---|---|---|")
	own := servers[0]
	for _, s := range servers {
		p.line("| %s | %.1f / %.0f | %.2f | %.1f / %.0f | %.2f |", s.name,
			median(s.held[0]), median(s.held[1]), median(s.held[0])/median(own.held[0]),
			median(s.whole[0]), median(s.whole[1]), median(s.whole[0])/median(own.whole[0]))
	}
	return nil
}

// wakeUps times a byte's way to another process and back.
func wakeUps(to *[2][]float64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var there, back [2]int
	if err := errors.Join(syscall.Pipe2(there[:], syscall.O_CLOEXEC), syscall.Pipe2(back[:], syscall.O_CLOEXEC)); err != nil {
		return err
	}
	in, out := os.NewFile(uintptr(there[0]), "in"), os.NewFile(uintptr(back[1]), "out")
	cmd := exec.Command("cat")
	cmd.Stdin, cmd.Stdout = in, out
	err := cmd.Start()
	in.Close()
	out.Close()
	if err == nil {
		b := make([]byte, 1)
		err = timed(func() error {
			if _, err := syscall.Write(there[1], b); err != nil {
				return err
			}
			_, err := syscall.Read(back[0], b)
			return err
		}, to)
	}
	syscall.Close(there[1])
	if cmd.Process != nil {
		err = errors.Join(err, cmd.Wait())
	}
	return errors.Join(err, syscall.Close(back[0]))
}

// round starts the server, reads, and stops it.
func (s *server) round(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.command[0], append(s.command[1:], dir)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && line == "ready\n" {
		err = s.read(dir + "/value")
	}
	in.Close()
	if e := cmd.Wait(); err == nil {
		err = e
	}
	return errors.Join(err, os.Remove(dir))
}

// read times reads of a file.
func (s *server) read(path string) error {
	runtime.LockOSThread() // what is timed are system calls, not Go's scheduler
	defer runtime.UnlockOSThread()
	buf := make([]byte, 4096)
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	held := func() error {
		_, err := syscall.Pread(fd, buf, 0)
		return err
	}
	whole := func() error {
		fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
		if err != nil {
			return err
		}
		_, err = syscall.Read(fd, buf)
		return errors.Join(err, syscall.Close(fd))
	}
	if err := timed(held, &s.held); err != nil {
		return err
	}
	return timed(whole, &s.whole)
}

// timed adds p50 and p99 of what do takes, in µs.
func timed(do func() error, to *[2][]float64) error {
	took := make([]float64, 0, reads)
	for i := range reads + reads/10 {
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		if i >= reads/10 { // warm
			took = append(took, float64(time.Since(start).Nanoseconds())/1e3)
		}
	}
	slices.Sort(took)
	to[0] = append(to[0], took[reads/2])
	to[1] = append(to[1], took[reads*99/100])
	return nil
}

// serveFile mounts a folder with one file, value, until the input ends.
func serveFile(ctx context.Context, dir string) error {
	s, err := fuse.Mount(fuse.Config{Dir: dir, FileSystem: oneFile{}, Timeout: time.Minute})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println("ready")
	return s.Serve(ctx)
}

// oneFile is a folder with one file, and that file when it is open.
type oneFile struct{}

func (oneFile) Getattr(ino fuse.Ino) (fuse.Attr, syscall.Errno) {
	if ino == fuse.Root {
		return fuse.Attr{Ino: ino, Mode: syscall.S_IFDIR | 0o755}, 0
	}
	return fuse.Attr{Ino: ino, Mode: syscall.S_IFREG | 0o644}, 0
}

func (f oneFile) Lookup(_ fuse.Ino, name string) (fuse.Attr, syscall.Errno) {
	if name != "value" {
		return fuse.Attr{}, syscall.ENOENT
	}
	return f.Getattr(2)
}

func (f oneFile) Readdir(ino fuse.Ino, skip int, yield func(fuse.Entry) bool) syscall.Errno {
	if skip == 0 {
		a, _ := f.Getattr(2)
		yield(fuse.Entry{Name: "value", Attr: a})
	}
	return 0
}

func (oneFile) Readlink(fuse.Ino) (string, syscall.Errno) { return "", syscall.EINVAL }

func (f oneFile) Open(fuse.Ino, uint32, fuse.Caller) (fuse.File, syscall.Errno) { return f, 0 }

var value = []byte("21.5\n")

func (oneFile) Read(_ context.Context, p []byte, off int64) (int, syscall.Errno) {
	return copy(p, value[min(off, int64(len(value))):]), 0
}

func (oneFile) Write(_ context.Context, p []byte, _ int64) (int, syscall.Errno) { return len(p), 0 }
func (oneFile) Poll(func()) uint32                                              { return 1 }
func (oneFile) Release()                                                        {}
