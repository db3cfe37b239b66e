package fuse

import "syscall"

// begin reports whether a message may be sent; done has to be called after it.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.busy.Add(1)
	return true
}

// quiet refuses more messages and waits for those that are under way, and for
// reads and writes that wait; read has to go on meanwhile, or the mount to be
// gone. It may be called more than once.
func (s *Server) quiet() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.cancel()
	s.busy.Wait()
}

// tell writes a message that nobody asked for: b with room for its header. An
// error says that the kernel knows nothing of what the message is about.
func (s *Server) tell(b []byte, code uint32) {
	order.PutUint32(b, uint32(len(b)))
	order.PutUint32(b[4:], code)
	order.PutUint64(b[8:], 0)
	_, _ = syscall.Write(s.fd, b)
}

// wakePoll has everybody who polls an open file ask again. It does not block.
func (s *Server) wakePoll(kh uint64) {
	if !s.begin() {
		return
	}
	defer s.busy.Done()
	var b [sizeReply + 8]byte // fuse_notify_poll_wakeup_out
	order.PutUint64(b[sizeReply:], kh)
	s.tell(b[:], notifyPoll)
}

// InvalidateInode has the kernel forget the attributes of a node and, of a
// directory, its names.
func (s *Server) InvalidateInode(ino Ino) {
	if !s.begin() {
		return
	}
	defer s.busy.Done()
	s.forgetInode(ino, 0)
}

// forgetInode has the kernel forget attributes, and pages from an offset on; -1:
// no pages, and then it does not block.
func (s *Server) forgetInode(ino Ino, from int64) {
	var b [sizeReply + 24]byte // fuse_notify_inval_inode_out; a length of 0: to the end
	order.PutUint64(b[sizeReply:], uint64(ino))
	order.PutUint64(b[sizeReply+8:], uint64(from))
	s.tell(b[:], notifyInvalInode)
}

// InvalidateEntry has the kernel forget a name in a directory, and what it kept
// of the directory: a name that is there now, is gone, or is another node. Who
// watches the file by inotify is told that it was deleted.
//
// It waits while the kernel has the directory locked for a LOOKUP or a READDIR.
// So it is never called by a method of the [FileSystem], nor with a lock held that
// one of them takes.
func (s *Server) InvalidateEntry(parent Ino, name string) {
	if len(name) > maxName || !s.begin() {
		return
	}
	defer s.busy.Done()
	b := make([]byte, sizeReply+16+len(name)+1) // fuse_notify_inval_entry_out
	order.PutUint64(b[sizeReply:], uint64(parent))
	order.PutUint32(b[sizeReply+8:], uint32(len(name)))
	copy(b[sizeReply+16:], name)
	s.tell(b, notifyInvalEntry)
	s.forgetInode(parent, 0) // after it: a listing that was under way, of before, has come to its end and is kept by now
}
