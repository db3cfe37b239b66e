package fuse

import (
	"syscall"
)

// answer acts on one request and returns the reply, which lies in s.out until
// the next one. nil: there is none, or it comes later.
func (s *Server) answer(msg []byte) []byte {
	h, body, ok := parseHeader(msg)
	if !ok {
		if len(msg) < sizeHeader {
			return nil
		}
		return s.finish(order.Uint64(msg[8:]), 0, syscall.EIO)
	}
	var n int
	var errno syscall.Errno
	switch h.op {
	case opForget, opBatchForget: // numbers are never used again, so nothing is kept to be forgotten
		return nil
	case opInterrupt:
		s.interrupt(body)
		return nil
	case opRead:
		n, errno = s.readFile(h, body)
		if errno == later {
			return nil
		}
	case opWrite:
		n, errno = s.writeFile(h, body)
		if errno == later {
			return nil
		}
	case opPoll:
		n, errno = s.pollFile(body)
	case opLookup:
		n, errno = s.lookup(h, body)
	case opGetattr:
		n, errno = s.attr(s.fs.Getattr(h.node))
	case opSetattr:
		n, errno = s.setattr(h, body)
	case opReadlink:
		var target string
		if target, errno = s.fs.Readlink(h.node); errno == 0 {
			n = copy(s.out[sizeReply:], target)
		}
	case opOpen:
		n, errno = s.openFile(h, body)
	case opRelease:
		errno = s.releaseFile(body)
	case opOpendir:
		if s.noOpendir {
			errno = syscall.ENOSYS
			break
		}
		clear(s.out[sizeReply:][:16])
		n = 16
	case opReaddir, opReaddirplus:
		n, errno = s.readdir(h, body)
	case opReleasedir, opAccess, opDestroy:
	case opStatfs:
		b := s.out[sizeReply:][:sizeStatfs]
		clear(b)
		order.PutUint32(b[40:], 4096) // block size
		order.PutUint32(b[44:], maxName)
		order.PutUint32(b[48:], 4096) // fragment size
		n = sizeStatfs
	case opInit:
		n, errno = s.init(body)
	case opSymlink, opMknod, opMkdir, opUnlink, opRmdir, opRename, opLink, opCreate:
		errno = syscall.EPERM // nothing is made or removed here
	default: // also FLUSH: the kernel sends no other then
		errno = syscall.ENOSYS
	}
	return s.finish(h.unique, n, errno)
}

// finish makes the header of a reply whose n bytes are in s.out.
func (s *Server) finish(unique uint64, n int, errno syscall.Errno) []byte {
	if errno != 0 {
		n = 0
	}
	putReply(s.out, unique, n, errno)
	return s.out[:sizeReply+n]
}

// putReply writes a fuse_out_header: a reply with n bytes after it.
func putReply(b []byte, unique uint64, n int, errno syscall.Errno) {
	order.PutUint32(b, uint32(sizeReply+n))
	order.PutUint32(b[4:], uint32(-int32(errno)))
	order.PutUint64(b[8:], unique)
}

// init answers INIT: version, what is wanted, and sizes.
func (s *Server) init(body []byte) (int, syscall.Errno) {
	if len(body) < sizeInitIn {
		return 0, syscall.EIO
	}
	major, minor, ahead, flags := order.Uint32(body), order.Uint32(body[4:]), order.Uint32(body[8:]), order.Uint32(body[12:])
	b := s.out[sizeReply:][:sizeInitOut]
	clear(b)
	order.PutUint32(b, protocolMajor)
	order.PutUint32(b[4:], protocolMinor)
	if major > protocolMajor {
		return sizeInitOut, 0 // it asks again, with ours
	}
	if major < protocolMajor || minor < leastMinor {
		return 0, syscall.EPROTO
	}
	flags &= capabilities
	s.noOpendir = flags&capNoOpendir != 0
	order.PutUint32(b[8:], ahead)
	order.PutUint32(b[12:], flags)
	order.PutUint16(b[16:], 64) // requests in the background: RELEASE
	order.PutUint16(b[18:], 48) // from here on it is held back
	order.PutUint32(b[20:], maxWrite)
	order.PutUint32(b[24:], 1) // times are good to a nanosecond
	order.PutUint16(b[28:], maxPages)
	return sizeInitOut, 0
}

// lookup answers LOOKUP. That there is no such name is kept by the kernel, too.
func (s *Server) lookup(h header, body []byte) (int, syscall.Errno) {
	name, errno := parseName(body)
	if errno != 0 {
		return 0, errno
	}
	a, errno := s.fs.Lookup(h.node, name)
	if errno == syscall.ENOENT {
		a, errno = Attr{}, 0
	}
	if errno != 0 {
		return 0, errno
	}
	putEntry(s.out[sizeReply:], a, s.cfg.Timeout)
	return sizeEntry, 0
}

// attr answers with a fuse_attr_out.
func (s *Server) attr(a Attr, errno syscall.Errno) (int, syscall.Errno) {
	if errno != 0 {
		return 0, errno
	}
	b := s.out[sizeReply:]
	clear(b[:16])
	putTime(b, b[8:], s.cfg.Timeout)
	putAttr(b[16:], a)
	return sizeAttrOut, 0
}

// setattr accepts what does nothing: a size (a shell's > sets it), the times of a file
// that can be written (touch and cp -p set them; whether the caller may, the kernel has
// checked), and a mode and an owner that are so already. It refuses another mode or owner.
func (s *Server) setattr(h header, body []byte) (int, syscall.Errno) {
	if len(body) < sizeSetattr {
		return 0, syscall.EINVAL
	}
	valid := order.Uint32(body)
	a, errno := s.fs.Getattr(h.node)
	if errno != 0 {
		return 0, errno
	}
	const permissions = 0o7777
	switch {
	case valid&setMode != 0 && order.Uint32(body[68:])&permissions != a.Mode&permissions,
		valid&setUID != 0 && order.Uint32(body[76:]) != a.UID,
		valid&setGID != 0 && order.Uint32(body[80:]) != a.GID,
		valid&setSize == 0 && valid&(setAtime|setMtime) != 0 && (a.Mode&syscall.S_IFMT != syscall.S_IFREG || a.Mode&0o222 == 0):
		return 0, syscall.EPERM
	}
	return s.attr(a, 0)
}

// readdir answers READDIR and READDIRPLUS. Offsets count entries; the first two
// are . and .., whose number and attributes nobody needs.
func (s *Server) readdir(h header, body []byte) (int, syscall.Errno) {
	t, ok := parseTransfer(body)
	if !ok {
		return 0, syscall.EINVAL
	}
	plus := h.op == opReaddirplus
	b, n := s.out[sizeReply:][:min(int(t.size), maxRead)], 0
	at := uint64(t.offset)
	put := func(e Entry, looked bool) bool {
		size := direntLen(len(e.Name))
		if plus {
			size += sizeEntry
		}
		if n+size > len(b) {
			return false
		}
		at++
		if plus {
			if looked {
				putEntry(b[n:], e.Attr, s.cfg.Timeout)
			} else {
				clear(b[n : n+sizeEntry])
			}
			putDirent(b[n+sizeEntry:], e.Attr.Ino, at, e.Attr.Mode, e.Name)
		} else {
			putDirent(b[n:], e.Attr.Ino, at, e.Attr.Mode, e.Name)
		}
		n += size
		return true
	}
	for _, name := range []string{".", ".."}[min(at, 2):] {
		if !put(Entry{Name: name, Attr: Attr{Ino: h.node, Mode: syscall.S_IFDIR}}, false) {
			return n, 0
		}
	}
	errno := s.fs.Readdir(h.node, int(min(at, 1<<31-1))-2, func(e Entry) bool { return put(e, true) })
	return n, errno
}
