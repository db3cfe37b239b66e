// Package fuse is the protocol on /dev/fuse (linux/fuse.h, fs/fuse/dev.c): a
// small server with what a tree of pins needs, poll(2) included, and no more.
package fuse
