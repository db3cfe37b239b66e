package fuse

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

const devFuse = "/dev/fuse"

// CanMount says, without mounting anything, whether this process can mount:
// by itself, or by fusermount3 as a plain user. The error is Unavailable and says
// what is missing.
func CanMount() error {
	fd, err := openDevice()
	if err != nil {
		return err
	}
	syscall.Close(fd)
	if mayMount() {
		return nil
	}
	_, err = helper()
	return err
}

// openDevice opens /dev/fuse.
func openDevice() (int, error) {
	fd, err := syscall.Open(devFuse, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	op := "open " + devFuse
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, fs.ErrPermission):
		return 0, s4t.Errorf(s4t.Unavailable, op, "run it as root, or in a container with --device "+devFuse, "this process may not: %w", err)
	}
	return 0, s4t.Errorf(s4t.Unavailable, op, "load the module fuse; in a container, run it with --device "+devFuse, "this system has no FUSE: %w", err)
}

// mayMount reports whether this process has CAP_SYS_ADMIN, over its own mounts.
func mayMount() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// Mount mounts a file system, and has the kernel agree on the protocol.
// [Server.Serve] has to be called then, soon: whoever touches the mount waits for it.
// Without the right to mount it is done by fusermount3, and only this user sees
// the files.
//
// The dead mount of a server that crashed at Dir is taken away. A mount that is
// alive, or a folder that is not empty, is Conflict; no FUSE, or no right to use
// it, Unavailable.
func Mount(cfg Config) (*Server, error) {
	if cfg.Name == "" {
		cfg.Name = "s4t"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	op := "mount files at " + cfg.Dir
	if strings.ContainsAny(cfg.Name, ",\\") {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "%q cannot be the name of a file system", cfg.Name)
	}
	var err error
	if cfg.Dir, err = clearDir(op, cfg.Dir); err != nil {
		return nil, err
	}
	byHelper := !mayMount()
	var fd int
	if byHelper {
		fd, err = mountByHelper(cfg)
	} else {
		fd, err = mount(op, cfg)
	}
	if err != nil {
		return nil, err
	}
	device := mountedAt(cfg.Dir).device
	s, err := newServer(cfg, fd, openAbort(device))
	if err != nil {
		_ = detach(cfg.Dir, byHelper)
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "make an eventfd: %w", err)
	}
	s.byHelper = byHelper
	s.device = device
	if err := s.agree(); err != nil {
		s.unmount()
		s.close()
		return nil, s4t.Errorf(s4t.Unavailable, op, "it takes Linux 3.15 or later", "agree with the kernel on the protocol: %w", err)
	}
	return s, nil
}

// mount mounts with mount(2), for every user of the machine.
func mount(op string, cfg Config) (int, error) {
	fd, err := openDevice()
	if err != nil {
		return 0, err
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC | syscall.MS_NOATIME)
	if cfg.ReadOnly {
		flags |= syscall.MS_RDONLY
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other,default_permissions", fd, os.Getuid(), os.Getgid())
	if err := syscall.Mount(cfg.Name, cfg.Dir, "fuse."+cfg.Name, flags, options); err != nil {
		syscall.Close(fd)
		return 0, s4t.Errorf(s4t.Unavailable, op, "in a container it takes the right to mount (CAP_SYS_ADMIN)", "the kernel refuses: %w", err)
	}
	return fd, nil
}

// controls is where the kernel has a folder for each connection, once the file
// system fusectl is mounted there. A test has none.
var controls = "/sys/fs/fuse/connections"

// openAbort opens the abort file of a connection, -1 where this process may not.
func openAbort(device string) int {
	_, minor, _ := strings.Cut(device, ":")
	open := func() (int, error) {
		return syscall.Open(controls+"/"+minor+"/abort", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	}
	fd, err := open()
	if err != nil && syscall.Mount("fusectl", controls, "fusectl", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "") == nil {
		fd, err = open()
		_ = syscall.Unmount(controls, syscall.MNT_DETACH)
	}
	if err != nil {
		return -1
	}
	return fd
}

// agree answers INIT, which the kernel asks first, and at once.
func (s *Server) agree() error {
	for range 2 { // once more where the kernel is of a later major version
		msg, err := s.next()
		if err != nil {
			return err
		}
		h, body, ok := parseHeader(msg)
		if !ok || h.op != opInit || len(body) < sizeInitIn {
			return syscall.EPROTO
		}
		reply := s.answer(msg)
		s.reply(reply)
		if errno := syscall.Errno(-int32(order.Uint32(reply[4:]))); errno != 0 {
			return errno
		}
		if order.Uint32(body) == protocolMajor {
			return nil
		}
	}
	return syscall.EPROTO
}

// probeTime is how long a file system that is mounted at a mount point has to answer.
const probeTime = time.Second

var errNoAnswer = errors.New("no answer")

// probe asks what is mounted at dir whether it is alive. One whose server is stopped
// does not answer: the goroutine that asks is left in the kernel then, and with it a
// thread, until that server goes on, or ends.
func probe(dir string) error {
	answer := make(chan error, 1)
	go func() {
		var unused syscall.Statfs_t // stat(2) may be answered by what the kernel keeps
		answer <- syscall.Statfs(dir, &unused)
	}()
	late := time.NewTimer(probeTime)
	defer late.Stop()
	select {
	case err := <-answer:
		return err
	case <-late.C:
		return errNoAnswer
	}
}

// Clear takes away the dead mount of a server that crashed at dir. Where there is none it
// does nothing; one that is alive stays.
func Clear(dir string) error {
	return clearDead("unmount what is left at "+dir, dir)
}

// clearDead takes away dead mounts, one over the other.
func clearDead(op, dir string) error {
	for range 64 {
		err := probe(dir)
		if errors.Is(err, errNoAnswer) {
			return s4t.Errorf(s4t.Conflict, op, "choose another folder; or end the process that serves the one there, then umount -l "+dir, "who serves the file system (%s) that is mounted there does not answer",
				s4t.Line(mountedAt(dir).kind, s4t.MaxName))
		}
		if err == syscall.ECONNABORTED { // it died while it was asked
			continue
		}
		if err != syscall.ENOTCONN {
			break
		}
		if err := detach(dir, !mayMount()); err != nil {
			return s4t.Errorf(s4t.Unavailable, op, "unmount it: umount -l "+dir, "the mount of a server that crashed is in the way: %w", err)
		}
	}
	return nil
}

// clearDir makes the mount point ready, and returns its path without links.
func clearDir(op, dir string) (string, error) {
	fail := func(err error) error {
		return s4t.Errorf(s4t.Unavailable, op, "", "make the folder ready: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fail(err)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", fail(err)
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if err := clearDead(op, dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fail(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fail(err)
	}
	if m := mountedAt(dir); m.device != "" {
		return "", s4t.Errorf(s4t.Conflict, op, "choose another folder, or unmount it", "a file system (%s) is mounted there", s4t.Line(m.kind, s4t.MaxName))
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", fail(err)
	}
	if len(list) > 0 {
		return "", s4t.Errorf(s4t.Conflict, op, "choose an empty folder", "the folder is not empty")
	}
	return dir, nil
}

// Mounted says whether the mount is still where it was made. One that somebody
// unmounted lazily (umount -l) is served on for who has a file open, and is not.
func (s *Server) Mounted() bool {
	m := mountedAt(s.dir)
	return m.device != "" && m.device == s.device
}

// unmount takes the mount away, whoever uses it, where it is still there.
func (s *Server) unmount() {
	if !s.Mounted() {
		return
	}
	if err := detach(s.dir, s.byHelper); err != nil {
		s.log.Warn("could not unmount", "dir", s.dir, "error", err)
	}
}

// detach unmounts the uppermost mount at dir.
func detach(dir string, byHelper bool) error {
	if byHelper {
		return unmountByHelper(dir)
	}
	return syscall.Unmount(dir, syscall.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
}
