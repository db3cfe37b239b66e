//go:build linux

package fuse

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is when a test gives up on what should have come long ago.
const limit = 60 * time.Second

// tree is a file system for tests: files by name at the root, and lazily
// made folders many/NNNN/N/N of the kind that pins have.
//
//	value    the newest value; a write sets it; poll tells of a new one
//	far      a read and a write wait for the test, or for their ctx
//	errNNN   reading and writing fails with errno NNN
//	link     a link to value
type tree struct {
	boards int       // folders in many
	mtime  time.Time // of folders; changed with mu held

	mu    sync.Mutex // guards the fields below
	value string
	seq   uint64
	wakes map[*opened]func()
	names []string // at the root
	open  int
	freed chan struct{} // one for each Release, while there is room
	far   chan string   // what a read of far gets
	asked chan struct{} // one for each read or write of far that waits
}

func newTree() *tree {
	return &tree{value: "0", mtime: time.Unix(1, 0), wakes: make(map[*opened]func()), names: []string{"value", "far", "link", "many"},
		freed: make(chan struct{}, 1<<16), far: make(chan string), asked: make(chan struct{}, 2*maxWaiting)}
}

// Numbers: the names at the root from 2 on; below many 1<<32 and the place of
// each folder, counted from 1, in 12, 4 and 4 bits.
const manyBase = Ino(1) << 32

func (t *tree) set(value string) {
	t.mu.Lock()
	t.value, t.seq = value, t.seq+1
	wakes := t.wakes
	t.wakes = make(map[*opened]func())
	t.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

func (t *tree) attrOf(ino Ino) (Attr, string, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := Attr{Ino: ino, Mode: syscall.S_IFDIR | 0o755, Mtime: t.mtime}
	reg := Attr{Ino: ino, Mode: syscall.S_IFREG | 0o666, Mtime: time.Unix(1700000000, 5)}
	if ino == Root {
		return dir, "", 0
	}
	if ino >= manyBase {
		if ino&0xf != 0 {
			return reg, "value", 0
		}
		return dir, "", 0
	}
	if ino < 2 || ino-2 >= Ino(len(t.names)) {
		return Attr{}, "", syscall.ENOENT
	}
	switch name := t.names[ino-2]; name {
	case "many":
		return dir, name, 0
	case "link":
		reg.Mode = syscall.S_IFLNK | 0o777
		return reg, name, 0
	default:
		return reg, name, 0
	}
}

func (t *tree) Getattr(ino Ino) (Attr, syscall.Errno) {
	a, _, errno := t.attrOf(ino)
	return a, errno
}

func (t *tree) children(ino Ino) (names []string, number func(i int) Ino) {
	count := func(n int, base Ino, shift uint) ([]string, func(int) Ino) {
		names := make([]string, n)
		for i := range names {
			names[i] = strconv.Itoa(i)
		}
		return names, func(i int) Ino { return base + Ino(i+1)<<shift }
	}
	_, name, _ := t.attrOf(ino)
	switch {
	case ino == Root:
		t.mu.Lock()
		defer t.mu.Unlock()
		var numbers []Ino
		for i, name := range t.names {
			if name != "" { // "" was removed
				names, numbers = append(names, name), append(numbers, Ino(i)+2)
			}
		}
		return names, func(i int) Ino { return numbers[i] }
	case name == "many":
		return count(t.boards, manyBase, 8)
	case ino >= manyBase && ino&0xff == 0:
		return count(8, ino, 4)
	case ino >= manyBase && ino&0xf == 0:
		return count(6, ino, 0)
	}
	return nil, nil
}

func (t *tree) Lookup(parent Ino, name string) (Attr, syscall.Errno) {
	names, number := t.children(parent)
	for i, n := range names {
		if n == name {
			return t.Getattr(number(i))
		}
	}
	return Attr{}, syscall.ENOENT
}

func (t *tree) Readdir(ino Ino, skip int, yield func(Entry) bool) syscall.Errno {
	names, number := t.children(ino)
	for i := skip; i < len(names); i++ {
		a, errno := t.Getattr(number(i))
		if errno != 0 {
			return errno
		}
		if !yield(Entry{Name: names[i], Attr: a}) {
			break
		}
	}
	return 0
}

func (t *tree) Readlink(Ino) (string, syscall.Errno) { return "value", 0 }

func (t *tree) Open(ino Ino, flags uint32, _ Caller) (File, syscall.Errno) {
	a, name, errno := t.attrOf(ino)
	if errno != 0 {
		return nil, errno
	}
	if a.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, syscall.EISDIR
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open++
	return &opened{tree: t, name: name}, 0
}

// opened is an open file of a tree.
type opened struct {
	tree *tree
	name string
	seen uint64 // of what was read to its end
	news uint64 // of text
	text string
}

func (o *opened) errno() syscall.Errno {
	n, _ := strconv.Atoi(strings.TrimPrefix(o.name, "err"))
	return syscall.Errno(n)
}

func (o *opened) Read(ctx context.Context, p []byte, off int64) (int, syscall.Errno) {
	switch {
	case strings.HasPrefix(o.name, "err"):
		return 0, o.errno()
	case o.name == "far" && ctx == nil:
		return 0, syscall.EAGAIN
	case o.name == "far":
		if off > 0 {
			return 0, 0
		}
		o.tree.asked <- struct{}{}
		select {
		case text := <-o.tree.far:
			return copy(p, text), 0
		case <-ctx.Done():
			return 0, syscall.EIO
		}
	}
	t := o.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if off == 0 {
		o.text, o.news = t.value+"\n", t.seq
	}
	n := copy(p, o.text[min(off, int64(len(o.text))):])
	if off+int64(n) == int64(len(o.text)) {
		o.seen = o.news
	}
	return n, 0
}

func (o *opened) Write(ctx context.Context, p []byte, _ int64) (int, syscall.Errno) {
	switch {
	case strings.HasPrefix(o.name, "err"):
		return 0, o.errno()
	case o.name == "far" && ctx == nil:
		return 0, syscall.EAGAIN
	case o.name == "far":
		o.tree.asked <- struct{}{}
		select {
		case o.tree.far <- string(p):
			return len(p), 0
		case <-ctx.Done():
			return 0, syscall.EIO
		}
	}
	o.tree.set(strings.TrimSpace(string(p)))
	return len(p), 0
}

func (o *opened) Poll(wake func()) uint32 {
	t := o.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if wake != nil {
		t.wakes[o] = wake
	}
	if o.text == "" || o.seen != t.seq {
		return unix.POLLIN | unix.POLLPRI | unix.POLLOUT
	}
	return unix.POLLOUT
}

func (o *opened) Release() {
	t := o.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wakes, o)
	t.open--
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

func (t *tree) opened() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// canMount skips a test where nothing can be mounted.
func canMount(t testing.TB) {
	t.Helper()
	if err := CanMount(); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
}

// mounting is a mount of a test.
type mounting struct {
	*Server
	dir   string
	end   context.CancelFunc
	ended chan error
}

// mountTree mounts a tree until the test ends. The test's own process must not
// touch what is below dir: [mounting.sh] and the like do.
func mountTree(t testing.TB, tr *tree) *mounting {
	t.Helper()
	canMount(t)
	dir := t.TempDir() + "/io"
	s, err := Mount(Config{Dir: dir, FileSystem: tr, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &mounting{Server: s, dir: s.dir, end: cancel, ended: make(chan error, 1)}
	go func() { m.ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := m.wait(t); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := tr.opened(); n != 0 {
			t.Errorf("%d files were not released", n)
		}
	})
	return m
}

// wait returns what Serve did; a mount that does not end is aborted.
func (m *mounting) wait(t testing.TB) error {
	select {
	case err := <-m.ended:
		m.ended <- err
		return err
	case <-time.After(limit):
		syscall.Unmount(m.dir, syscall.MNT_FORCE|syscall.MNT_DETACH)
		t.Fatal("Serve does not end")
		return nil
	}
}

// sh runs a shell in the mount and returns what it prints, errors too.
func (m *mounting) sh(t testing.TB, script string) string {
	t.Helper()
	return run(t, exec.Command("sh", "-c", "T="+t.TempDir()+"; cd "+m.dir+" || exit 1\n"+script))
}

// python runs Python in the mount.
func (m *mounting) python(t testing.TB, script string) string {
	t.Helper()
	return run(t, m.pythonCommand(t, script))
}

func (m *mounting) pythonCommand(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	cmd := exec.Command("python3", "-c", "import os, sys, select, errno, time\nos.chdir('"+m.dir+"')\n"+script)
	return cmd
}

// run runs a command to its end, which has to come in time.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !kill.Stop() {
		t.Fatalf("%s: not done after %v; it said %q", cmd.Path, limit, out.String())
	}
	if err != nil {
		fmt.Fprintf(&out, "(%v)", err)
	}
	return strings.TrimRight(out.String(), "\n")
}
