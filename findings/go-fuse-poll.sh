#!/bin/sh
# A file server made with hanwen/go-fuse has no say in poll(2): the library
# answers FUSE_POLL itself with ENOSYS, sends one while it mounts, and the kernel then
# asks no more for that mount. A file on it is "readable" at once and for ever, so
# that nobody can wait there for a change.
#
# Seen with go-fuse 2.11.0, Linux 6.18. Needs Go, root or fusermount3, /dev/fuse and
# python3. Fails when that is no longer so.
#
# For us: the protocol on /dev/fuse is our own, decision 022.
set -eu
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || :; wait 2>/dev/null || :; umount -l "$dir/mount" 2>/dev/null || :; rm -rf "$dir"' EXIT
mkdir "$dir/mount" "$dir/src"
cd "$dir/src"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// pin is a file whose value never changes.
type pin struct{ fs.Inode }

func (*pin) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (*pin) Read(context.Context, fs.FileHandle, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData([]byte("1\n")), 0
}

type root struct{ fs.Inode }

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild("value", r.NewPersistentInode(ctx, &pin{}, fs.StableAttr{}), false)
}

func main() {
	server, err := fs.Mount(os.Args[1], &root{}, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	server.Wait()
}
GO
cat >go.mod <<'MOD'
module look

go 1.24
MOD
GOFLAGS=-mod=mod go get github.com/hanwen/go-fuse/v2@v2.11.0 2>/dev/null
GOFLAGS=-mod=mod go build -o "$dir/server" .
mkfifo "$dir/said"
"$dir/server" "$dir/mount" >"$dir/said" &
server=$!
read -r said <"$dir/said"
[ "$said" = ready ]
echo "go-fuse $(go list -m -f '{{.Version}}' github.com/hanwen/go-fuse/v2), Linux $(uname -r)"
seen=$(timeout 20 python3 - "$dir/mount/value" <<'PY'
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
poll = select.poll()
poll.register(fd, select.POLLIN | select.POLLPRI)
for _ in range(3):  # what was read is not new any more
    events = poll.poll(1000)
    print("readable" if events and events[0][1] & select.POLLIN else "waits", end=" ")
    os.pread(fd, 16, 0)
PY
)
echo "poll of a value that never changes: $seen"
if [ "$seen" = "readable readable readable " ] || [ "$seen" = "readable readable readable" ]; then
	echo "as described: nobody can wait for a change"
	exit 0
fi
echo "it is no longer so"
exit 1
