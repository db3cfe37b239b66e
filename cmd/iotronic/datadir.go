package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// openDataDir makes the data directory and takes its lock: two processes never
// share one. The lock ends with the process, by whatever way.
func openDataDir(dir string) (unlock func(), err error) {
	op := "use the data directory " + dir
	unix.Umask(0o077) // what is made here, by the database too, is for its owner's eyes only
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "choose another with --data", "%w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
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

// writeFile replaces a file as a whole: after a crash there is the old one or
// the new one.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	fail := func(err error) error {
		return s4t.Errorf(s4t.Unavailable, "write "+path, "check space and permissions of the data directory", "%w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil { // the new name, too, survives a power cut
		return fail(err)
	}
	return nil
}
