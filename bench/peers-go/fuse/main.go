// Command fuse mounts a folder with one file, value, by go-fuse: what
// bench/tree has beside the server of this project. It is a module of its own, so
// that go-fuse stays out of ours. It says "ready", and serves until its input ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	single := flag.Bool("single", false, "answer in one goroutine")
	flag.Parse()
	keep := time.Minute
	root := &fs.Inode{}
	server, err := fs.Mount(flag.Arg(0), root, &fs.Options{
		EntryTimeout: &keep, AttrTimeout: &keep,
		MountOptions: fuse.MountOptions{AllowOther: true, DirectMount: true, SingleThreaded: *single, Options: []string{"default_permissions"}},
		OnAdd: func(ctx context.Context) {
			root.AddChild("value", root.NewPersistentInode(ctx, &value{}, fs.StableAttr{Mode: syscall.S_IFREG}), false)
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuse:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	if err := server.Unmount(); err != nil {
		fmt.Fprintln(os.Stderr, "fuse:", err)
	}
	server.Wait()
}

// value is a pin's file.
type value struct{ fs.Inode }

func (*value) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = syscall.S_IFREG|0o644, 4096
	return 0
}

func (*value) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return handle{}, fuse.FOPEN_DIRECT_IO, 0
}

// handle is an open file.
type handle struct{}

var line = []byte("21.5\n")

func (handle) Read(_ context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(line[min(off, int64(len(line))):]), 0
}
