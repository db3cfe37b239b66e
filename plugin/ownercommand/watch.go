package ownercommand

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Of what inotify(7) tells: a file is there, complete, or is not any more; so for the
// folder.
const (
	fileEvents   = unix.IN_ONLYDIR | unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	parentEvents = unix.IN_ONLYDIR | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
)

// watch returns what can be read from when something changed in a folder; where it is
// not there, in the nearest one above that is, since it may come.
func watch(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	events := os.NewFile(uintptr(fd), "inotify")
	add := func(path string, mask uint32) bool {
		_, err = unix.InotifyAddWatch(fd, path, mask)
		return err == nil
	}
	for above := dir; ; above = filepath.Dir(above) {
		if add(dir, fileEvents) {
			return events, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || above == filepath.Dir(above) {
			events.Close()
			return nil, err
		}
		if add(filepath.Dir(above), parentEvents) && !add(dir, fileEvents) && errors.Is(err, fs.ErrNotExist) {
			return events, nil
		}
	}
}

// await waits for a change, and what an editor does besides, or until ctx ends.
func await(ctx context.Context, events *os.File) {
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		if _, err := events.Read(buf); err != nil {
			return
		}
		events.SetReadDeadline(time.Now().Add(settle))
	}
}
