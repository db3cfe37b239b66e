package fuse

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"time"
)

// Version of the protocol that is spoken, and the least that a kernel has to
// speak (Linux 3.15): with it, all structures have the sizes below.
const (
	protocolMajor = 7
	protocolMinor = 31
	leastMinor    = 23
)

// Operations: enum fuse_opcode.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opReadlink    = 5
	opSymlink     = 6
	opMknod       = 8
	opMkdir       = 9
	opUnlink      = 10
	opRmdir       = 11
	opRename      = 12
	opLink        = 13
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opInit        = 26
	opOpendir     = 27
	opReaddir     = 28
	opReleasedir  = 29
	opAccess      = 34
	opCreate      = 35
	opInterrupt   = 36
	opDestroy     = 38
	opPoll        = 40
	opBatchForget = 42
	opReaddirplus = 44
)

// Messages that nobody asked for: enum fuse_notify_code.
const (
	notifyPoll       = 1
	notifyInvalInode = 2
	notifyInvalEntry = 3
)

// Flags of INIT that are wanted where the kernel has them.
const (
	capAtomicTrunc   = 1 << 3  // open(O_TRUNC) is one OPEN, without a SETATTR of the size
	capAutoInval     = 1 << 12 // a kept directory is read anew when its mtime is another
	capReaddirplus   = 1 << 13
	capReaddirAuto   = 1 << 14 // READDIRPLUS only where it seems to be of use
	capParallelDirs  = 1 << 18
	capMaxPages      = 1 << 22
	capNoOpendir     = 1 << 24 // ENOSYS to OPENDIR: none is sent, and the kernel keeps directories
	capabilities     = capAtomicTrunc | capAutoInval | capReaddirplus | capReaddirAuto | capParallelDirs | capMaxPages | capNoOpendir
	openDirectIO     = 1 << 0 // FOPEN_DIRECT_IO: the size means nothing, each read is a READ
	readByProgram    = 1 << 1 // FUSE_READ_LOCKOWNER: of each read(2) with direct I/O, and of no read of the page cache
	pollScheduleWake = 1 << 0 // FUSE_POLL_SCHEDULE_NOTIFY
)

// Bits of SETATTR's valid.
const (
	setMode  = 1 << 0
	setUID   = 1 << 1
	setGID   = 1 << 2
	setSize  = 1 << 3
	setAtime = 1 << 4
	setMtime = 1 << 5
)

// Sizes in bytes of the structures of linux/fuse.h.
const (
	sizeHeader   = 40 // fuse_in_header
	sizeReply    = 16 // fuse_out_header
	sizeAttr     = 88
	sizeEntry    = 40 + sizeAttr
	sizeAttrOut  = 16 + sizeAttr
	sizeDirent   = 24 // without the name
	sizeSetattr  = 88
	sizeReadIn   = 40 // fuse_read_in, fuse_write_in
	sizePollIn   = 24
	sizeInitIn   = 16 // up to flags; what follows is not needed
	sizeInitOut  = 64
	sizeStatfs   = 80
	maxName      = 255
	maxWrite     = 4096     // of one write: the least that the kernel accepts, and more than any pin needs
	maxRead      = 64 << 10 // of one read, and of one listing
	maxPages     = maxRead >> 12
	requestBytes = 16 << 10 // over FUSE_MIN_READ_BUFFER and sizeHeader+sizeReadIn+maxWrite
)

var order = binary.NativeEndian

// header of a request: fuse_in_header.
type header struct {
	op     uint32
	unique uint64
	node   Ino
	caller Caller
}

// parseHeader splits a message. It is false where the message is too short, or
// says another length than it has.
func parseHeader(msg []byte) (h header, body []byte, ok bool) {
	if len(msg) < sizeHeader || uint64(order.Uint32(msg)) != uint64(len(msg)) {
		return h, nil, false
	}
	h = header{
		op:     order.Uint32(msg[4:]),
		unique: order.Uint64(msg[8:]),
		node:   Ino(order.Uint64(msg[16:])),
		caller: Caller{UID: order.Uint32(msg[24:]), GID: order.Uint32(msg[28:]), PID: order.Uint32(msg[32:])},
	}
	return h, msg[sizeHeader:], true
}

// parseName takes the name at the begin of body, which ends with a NUL.
func parseName(body []byte) (string, syscall.Errno) {
	end := bytes.IndexByte(body, 0)
	switch {
	case end <= 0 || bytes.IndexByte(body[:end], '/') >= 0:
		return "", syscall.EINVAL
	case end > maxName:
		return "", syscall.ENAMETOOLONG
	}
	return string(body[:end]), 0
}

// transfer is fuse_read_in and fuse_write_in.
type transfer struct {
	fh     uint64
	offset int64
	size   uint32
	flags  uint32 // read_flags, write_flags
}

func parseTransfer(body []byte) (t transfer, ok bool) {
	if len(body) < sizeReadIn {
		return t, false
	}
	t = transfer{fh: order.Uint64(body), offset: int64(order.Uint64(body[8:])), size: order.Uint32(body[16:]), flags: order.Uint32(body[20:])}
	return t, t.offset >= 0
}

// putAttr writes a fuse_attr of 88 bytes. A file has at least a size of 4,096, as
// in sysfs: sendfile(2), and with it busybox, takes one of 0 for empty and does
// not even ask.
func putAttr(b []byte, a Attr) {
	if a.Mode&syscall.S_IFMT == syscall.S_IFREG {
		a.Size = max(a.Size, 4096)
	}
	clear(b[:sizeAttr])
	order.PutUint64(b, uint64(a.Ino))
	order.PutUint64(b[8:], a.Size)
	order.PutUint64(b[16:], (a.Size+511)/512)
	if !a.Mtime.IsZero() {
		for i := range 3 { // atime, mtime, ctime
			order.PutUint64(b[24+8*i:], uint64(a.Mtime.Unix()))
			order.PutUint32(b[48+4*i:], uint32(a.Mtime.Nanosecond()))
		}
	}
	order.PutUint32(b[60:], a.Mode)
	order.PutUint32(b[64:], 1) // links
	order.PutUint32(b[68:], a.UID)
	order.PutUint32(b[72:], a.GID)
	order.PutUint32(b[80:], 4096) // block size
}

// putEntry writes a fuse_entry_out of 128 bytes: names and attributes may be
// kept for that long.
func putEntry(b []byte, a Attr, keep time.Duration) {
	clear(b[:sizeEntry])
	order.PutUint64(b, uint64(a.Ino))
	putTime(b[16:], b[32:], keep)
	putTime(b[24:], b[36:], keep)
	putAttr(b[40:], a)
}

// putTime writes a duration as seconds and nanoseconds.
func putTime(sec, nsec []byte, d time.Duration) {
	order.PutUint64(sec, uint64(d/time.Second))
	order.PutUint32(nsec, uint32(d%time.Second))
}

// direntLen is the length of a fuse_dirent with a name of n bytes.
func direntLen(n int) int { return (sizeDirent + n + 7) &^ 7 }

// putDirent writes a fuse_dirent. next is the offset of the entry after it.
func putDirent(b []byte, ino Ino, next uint64, mode uint32, name string) {
	clear(b[:direntLen(len(name))])
	order.PutUint64(b, uint64(ino))
	order.PutUint64(b[8:], next)
	order.PutUint32(b[16:], uint32(len(name)))
	order.PutUint32(b[20:], mode>>12&0xf) // DT_DIR, DT_REG, DT_LNK
	copy(b[sizeDirent:], name)
}
