package plugin

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// What is more than can be looked at often counts as more than any limit: a guest may not hide there
// what it keeps.
const (
	maxLooked = 200_000 // files that are counted
	maxDeep   = 100     // folders in each other; each is an open file while it is looked at
)

var (
	errOver   = errors.New("it is over its limit")
	errHidden = errors.New("it is too much to be looked at")
)

// used is how many bytes folders take on the disk. Unless all is to be counted it stops when they are
// over a limit. 0: there is none.
func used(limit int64, all bool, folders ...string) (n int64) {
	stop := int64(math.MaxInt64)
	if limit > 0 && !all {
		stop = limit
	}
	files := 0
	count := func(st *unix.Stat_t) error {
		n += inode + int64(st.Blocks)*512
		if files++; n > stop {
			return errOver
		} else if files > maxLooked {
			return errHidden
		}
		return nil
	}
	for _, dir := range folders {
		var st unix.Stat_t
		if unix.Lstat(dir, &st) != nil {
			continue
		}
		err := count(&st)
		if err == nil {
			err = visit(unix.AT_FDCWD, dir, maxDeep, count)
		}
		if errors.Is(err, errHidden) && limit > 0 {
			n = max(n, limit+1)
		}
		if err != nil {
			break
		}
	}
	return n
}

// visit tells of all that is in a folder, which may lie deeper than any path can name (PATH_MAX),
// until it is answered with an error.
func visit(parent int, name string, deep int, tell func(*unix.Stat_t) error) error {
	if deep == 0 {
		return errHidden
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) && os.Geteuid() != 0 { // the guest has the same user, and may close it
		return errHidden
	}
	if err != nil {
		return nil // it has gone meanwhile
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	for {
		names, end := dir.Readdirnames(1000)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			err := tell(&st)
			if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				err = visit(fd, name, deep-1, tell)
			}
			if err != nil {
				return err
			}
		}
		if end != nil {
			return nil
		}
	}
}
