//go:build !linux

package fuse

import (
	"context"

	"github.com/stack4things/s4t"
)

// Server serves one mount. On this system there is none.
type Server struct{}

// CanMount says whether this process can mount: it cannot.
func CanMount() error {
	return s4t.Errorf(s4t.Unavailable, "mount files", "use the commands s4t pin", "it takes Linux")
}

// Mount mounts a file system.
func Mount(Config) (*Server, error) { return nil, CanMount() }

// Clear takes away the dead mount of a server that crashed: there is none.
func Clear(string) error { return nil }

// Serve answers requests.
func (*Server) Serve(context.Context) error { return CanMount() }

// InvalidateInode has the kernel forget the attributes of a node.
func (*Server) InvalidateInode(Ino) {}

// InvalidateEntry has the kernel forget a name in a directory.
func (*Server) InvalidateEntry(Ino, string) {}

// Mounted says whether the mount is there.
func (*Server) Mounted() bool { return false }
