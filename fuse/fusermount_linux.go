package fuse

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/stack4things/s4t"
)

// helper finds fusermount3, which is set-user-ID root and mounts for plain users.
func helper() (string, error) {
	path, err := exec.LookPath("fusermount3")
	if err != nil {
		return "", s4t.Errorf(s4t.Unavailable, "mount files", "run it as root, or install fusermount3 (Debian: fuse3)", "a plain user cannot mount without fusermount3")
	}
	return path, nil
}

// mountByHelper has fusermount3 mount, and gets the descriptor of /dev/fuse from
// it: it sends it, with one byte, over the socket whose number _FUSE_COMMFD says.
func mountByHelper(cfg Config) (int, error) {
	path, err := helper()
	if err != nil {
		return 0, err
	}
	op := "mount files at " + cfg.Dir
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, s4t.Errorf(s4t.Unavailable, op, "", "make a socket: %w", err)
	}
	defer syscall.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "fusermount3")
	options := "fsname=" + cfg.Name + ",subtype=" + cfg.Name + ",default_permissions,nosuid,nodev,noexec,noatime"
	if cfg.ReadOnly {
		options += ",ro"
	}
	cmd := exec.Command(path, "-o", options, "--", cfg.Dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	said, err := cmd.CombinedOutput()
	theirs.Close() // so that the read below ends where nothing was sent
	if err != nil {
		return 0, s4t.Errorf(s4t.Unavailable, op, "", "fusermount3: %w: %s", err, s4t.Line(string(bytes.TrimSpace(said)), 200))
	}
	data, control := make([]byte, 1), make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := syscall.Recvmsg(pair[0], data, control, syscall.MSG_CMSG_CLOEXEC)
	if err == nil {
		var messages []syscall.SocketControlMessage
		if messages, err = syscall.ParseSocketControlMessage(control[:n]); err == nil && len(messages) == 1 {
			var fds []int
			if fds, err = syscall.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
				return fds[0], nil
			}
		}
	}
	return 0, s4t.Errorf(s4t.Unavailable, op, "", "fusermount3 passed no descriptor (%v)", err)
}

// unmountByHelper unmounts what this user has mounted.
func unmountByHelper(dir string) error {
	path, err := helper()
	if err != nil {
		return err
	}
	if said, err := exec.Command(path, "-u", "-q", "-z", "--", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("fusermount3: %w: %s", err, s4t.Line(string(bytes.TrimSpace(said)), 200))
	}
	return nil
}
