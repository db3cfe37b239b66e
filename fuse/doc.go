// Package fuse is the protocol on /dev/fuse (linux/fuse.h, fs/fuse/dev.c): a
// small server with what a tree of pins needs, poll(2) included, and no more.
//
// A [Server] has one goroutine that reads a request, has the [FileSystem] answer
// it from memory, and writes the reply. What has to wait (a pin of another board)
// gets a goroutine of its own.
//
// A process never uses its own mount: a system call on it holds up the very
// threads that should answer it, and may outlive SIGKILL.
package fuse
