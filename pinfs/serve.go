package pinfs

import "github.com/stack4things/s4t/fuse"

// kernel is what is told to it.
type kernel interface {
	InvalidateEntry(parent fuse.Ino, name string)
	InvalidateInode(ino fuse.Ino)
}
