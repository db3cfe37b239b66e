package fuse

import (
	"context"
	"log/slog"
	"syscall"
	"time"
)

// Ino numbers a node. The root is [Root]; what else there is the [FileSystem]
// numbers as it likes, and a number is never used for another node again.
type Ino uint64

// Root of a mount.
const Root Ino = 1

// Attr are the attributes of a node.
type Attr struct {
	Ino      Ino
	Mode     uint32 // S_IFDIR, S_IFREG or S_IFLNK, and permissions
	UID, GID uint32
	Size     uint64
	Mtime    time.Time // of a directory: when its names changed; the kernel reads it anew then
}

// Entry of a directory.
type Entry struct {
	Name string
	Attr Attr
}

// Caller is who makes a request, as the kernel says.
type Caller struct{ UID, GID, PID uint32 }

// FileSystem is what a [Server] serves. Its methods are called by the server's
// reader, one at a time, and must not wait for anything but memory, unless they
// say so here. An error is an errno; 0 is none.
type FileSystem interface {
	Lookup(parent Ino, name string) (Attr, syscall.Errno)
	Getattr(ino Ino) (Attr, syscall.Errno)
	// Readdir calls yield with the entries after the first skip ones, until it
	// returns false. Their order stays as it is, where the names do. . and .. are
	// not among them.
	Readdir(ino Ino, skip int, yield func(Entry) bool) syscall.Errno
	Readlink(ino Ino) (string, syscall.Errno)
	// Open opens a file. flags are those of open(2).
	Open(ino Ino, flags uint32, caller Caller) (File, syscall.Errno)
}

// File is an open file: direct I/O, its size means nothing.
type File interface {
	// Read reads at an offset. Where it would have to wait it returns EAGAIN
	// with a nil ctx; the server then calls it again in a goroutine of its own,
	// with a ctx that ends when the reader was interrupted (EINTR) or the mount
	// is gone; it has to return soon then. p has at most 4,096 bytes in that case.
	Read(ctx context.Context, p []byte, off int64) (int, syscall.Errno)
	// Write writes at an offset; as with Read.
	Write(ctx context.Context, p []byte, off int64) (int, syscall.Errno)
	// Poll returns what poll(2) is to see now. wake, where it is not nil, is
	// called once when that may have changed, from any goroutine; a later wake
	// takes the place of an earlier one.
	Poll(wake func()) (revents uint32)
	// Release is called once, when the file is closed; nothing else is called
	// after it.
	Release()
}

// Config configures a [Server].
type Config struct {
	Dir        string        // required: the mount point; made where it is not there
	FileSystem FileSystem    // required
	Name       string        // optional: of the file system, as mount(8) shows it; default "s4t"
	Timeout    time.Duration // optional: how long the kernel may keep names and attributes, unless they are invalidated; default 1 s
	ReadOnly   bool          // optional
	Log        *slog.Logger  // optional: default discards
}
