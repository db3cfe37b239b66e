package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// sameDir reports whether two paths are of one directory.
func sameDir(a, b string) bool {
	one, err := os.Stat(a)
	other, otherErr := os.Stat(b)
	return err == nil && otherErr == nil && os.SameFile(one, other)
}

// openDataDir makes the data directory and takes its lock: two processes never
// share one. The lock ends with the process, by whatever way.
func openDataDir(dir string) (unlock func(), err error) {
	op := "use the data directory " + dir
	unix.Umask(0o077) // what is made here, by the database too, is for its owner's eyes only
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "choose another with --data", "%w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "check its permissions, or choose another with --data", "%w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		who, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, s4t.Errorf(s4t.Conflict, op, "stop it, or choose another directory with --data", "another iotronic uses it (process %s)", strings.TrimSpace(string(who)))
		}
		return nil, s4t.Errorf(s4t.Unavailable, op, "choose a directory on a local disk with --data", "lock it: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid()) // for the message above only
	}
	return func() { f.Close() }, nil
}
