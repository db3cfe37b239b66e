//go:build linux

package fuse

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// message makes a request.
func message(op uint32, unique uint64, node Ino, body ...byte) []byte {
	b := make([]byte, sizeHeader, sizeHeader+len(body))
	order.PutUint32(b, uint32(sizeHeader+len(body)))
	order.PutUint32(b[4:], op)
	order.PutUint64(b[8:], unique)
	order.PutUint64(b[16:], uint64(node))
	return append(b, body...)
}

// words makes a body of numbers of 64 bits.
func words(list ...uint64) (b []byte) {
	for _, w := range list {
		b = order.AppendUint64(b, w)
	}
	return b
}

// two makes a number of 64 bits of two of 32, as they lie in memory.
func two(first, second uint32) uint64 {
	return order.Uint64(order.AppendUint32(order.AppendUint32(nil, first), second))
}

// deviceless is a server whose replies from goroutines nobody gets.
func deviceless(t testing.TB, tr FileSystem) *Server {
	t.Helper()
	fd, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(Config{Dir: "/nowhere", FileSystem: tr, Timeout: time.Second}, fd, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.quiet()
		s.close()
	})
	return s
}

func openMessage(node Ino) []byte { return message(opOpen, 2, node, words(syscall.O_RDWR)...) }

func readMessage(fh uint64, unique uint64) []byte {
	return message(opRead, unique, 2, words(fh, 0, two(4096, readByProgram), 0, 0)...)
}

// FuzzRequest gives a server what a kernel never says: lengths that lie, bodies
// that end early, names without an end, numbers of files that are not open. Of
// several requests, one after the other, each begins with its length.
func FuzzRequest(f *testing.F) {
	poll := message(opPoll, 9, 2, words(0, 7, two(pollScheduleWake, 1))...)
	for _, seed := range [][]byte{
		message(opInit, 1, 0, words(two(7, 40), two(1<<17, 0xffffffff), 0)...),
		message(opInit, 1, 0, words(two(8, 1), 0)...),
		message(opLookup, 3, Root, []byte("value\x00")...),
		message(opLookup, 3, Root, []byte("no end")...),
		message(opLookup, 3, Root, append(bytes.Repeat([]byte("a"), 300), 0)...),
		message(opForget, 3, 2, words(1)...),
		message(opBatchForget, 3, 0, words(two(0xffffffff, 0), 2, 1)...),
		message(opGetattr, 3, 2, words(0, 0)...),
		message(opSetattr, 3, 2, append(words(two(setSize, 0), 0, 0), make([]byte, 64)...)...),
		message(opReadlink, 3, 4),
		bytes.Join([][]byte{openMessage(2), readMessage(0, 4), poll, message(opWrite, 5, 2, append(words(0, 0, two(1, 0), 0, 0), '1')...),
			message(opRelease, 6, 2, words(0, 0, 0)...), readMessage(0, 7), poll}, nil),
		bytes.Join([][]byte{openMessage(3), readMessage(0, 4), message(opInterrupt, 5, 0, words(4)...), message(opRelease, 6, 3, words(0)...)}, nil),
		message(opRead, 4, 2, words(1<<40, 1<<63, two(0xffffffff, 2), 0, 0)...),
		message(opWrite, 4, 2, words(0, 0, two(0xffffffff, 0), 0, 0)...),
		message(opReaddir, 4, Root, words(0, 0, two(4096, 0), 0, 0)...),
		message(opReaddirplus, 4, 5, words(0, 1<<62, two(0xffffffff, 0), 0, 0)...),
		message(opReaddirplus, 4, 5, words(0, 3, two(300, 0), 0, 0)...),
		message(opStatfs, 4, Root),
		message(opDestroy, 4, 0),
		message(9999, 4, 0),
		{200, 0, 0, 0, 1, 0, 0, 0},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		tr := newTree()
		tr.boards = 3
		tr.asked = make(chan struct{}, len(in)/sizeHeader+1)
		s := deviceless(t, tr)
		for len(in) > 0 {
			n := len(in)
			if n >= 4 {
				n = min(max(int(order.Uint32(in)), 4), n)
			}
			msg := in[:n]
			in = in[n:]
			reply := s.answer(msg)
			if reply == nil {
				continue
			}
			if len(reply) < sizeReply || int(order.Uint32(reply)) != len(reply) || order.Uint64(reply[8:]) != order.Uint64(msg[8:]) {
				t.Fatalf("%x is answered %x", msg, reply)
			}
			errno := -int32(order.Uint32(reply[4:]))
			if errno < 0 || errno >= 512 || errno > 0 && len(reply) != sizeReply {
				t.Fatalf("%x is answered with error %d and %d bytes", msg, errno, len(reply))
			}
			if op := order.Uint32(msg[4:]); errno == 0 && (op == opRead || op == opReaddir || op == opReaddirplus) {
				if asked := order.Uint32(msg[sizeHeader+16:]); uint64(len(reply)-sizeReply) > uint64(asked) {
					t.Fatalf("%d bytes are answered with %d", asked, len(reply)-sizeReply)
				}
			}
		}
	})
}

// FuzzMounts reads any text as the kernel's table of mounts.
func FuzzMounts(f *testing.F) {
	f.Add("36 35 98:0 / /io rw,noatime master:1 - fuse.s4t s4t rw,user_id=0\n", "/io")
	f.Add("36 35 0:9 / /a\\040b\\134c rw - tmpfs none rw\n37 35 0:10 / /a\\040b\\134c rw - ext4 none rw", "/a b\\c")
	f.Add("36 35 0:9 / /a\\04", "/a\\04")
	f.Fuzz(func(t *testing.T, table, dir string) {
		m := parseMounts(strings.NewReader(table), dir)
		if strings.ContainsAny(m.device+m.kind, "\n") {
			t.Errorf("%q", m)
		}
	})
}

func TestParseMounts(t *testing.T) {
	table := "36 35 98:0 / /io rw,noatime master:1 - ext3 /dev/root rw\nnonsense\n\n" +
		"37 36 0:50 / /io rw shared:5 - fuse.s4t s4t rw,user_id=0\n38 36 0:51 / /a\\040b\\134c rw - tmpfs none rw\n"
	for dir, want := range map[string]mounted{
		"/io":     {"0:50", "fuse.s4t"}, // the uppermost
		"/a b\\c": {"0:51", "tmpfs"},
		"/other":  {},
	} {
		if got := parseMounts(strings.NewReader(table), dir); got != want {
			t.Errorf("%s: %v, not %v", dir, got, want)
		}
	}
}

// Of what waits there are as many as fit, and those after them are told.
func TestWaitingIsBounded(t *testing.T) {
	tr := newTree()
	s := deviceless(t, tr)
	s.answer(openMessage(3))
	for i := range uint64(maxWaiting) {
		if reply := s.answer(readMessage(0, 2*i+10)); reply != nil {
			t.Fatalf("the %dth is answered %x", i, reply)
		}
		<-tr.asked
	}
	full := func() bool {
		reply := s.answer(readMessage(0, 9))
		return reply != nil && syscall.Errno(-int32(order.Uint32(reply[4:]))) == syscall.ENOBUFS
	}
	if !full() {
		t.Error("there is room for one more")
	}
	// A file is released once nobody waits at it any more.
	s.answer(message(opRelease, 8, 3, words(0)...))
	if tr.opened() != 1 {
		t.Error("it is released below those who wait")
	}
	for i := range uint64(maxWaiting) {
		s.answer(message(opInterrupt, 2*i+11, 0, words(2*i+10)...))
	}
	<-tr.freed
}

func TestOpenFilesAreBounded(t *testing.T) {
	s := deviceless(t, newTree())
	for range maxFiles {
		s.answer(openMessage(2))
	}
	if reply := s.answer(openMessage(2)); syscall.Errno(-int32(order.Uint32(reply[4:]))) != syscall.ENFILE {
		t.Errorf("one more is answered %x", reply)
	}
	s.answer(message(opRelease, 8, 2, words(77)...))
	if reply := s.answer(openMessage(2)); order.Uint32(reply[4:]) != 0 || order.Uint64(reply[sizeReply:]) != 77 {
		t.Errorf("where one was closed it is answered %x", reply)
	}
}

// still is a file system of one file whose reads cost nothing.
type still struct{ *tree }

func (still) Open(Ino, uint32, Caller) (File, syscall.Errno)                  { return still{}, 0 }
func (still) Read(context.Context, []byte, int64) (int, syscall.Errno)        { return 2, 0 }
func (still) Write(_ context.Context, p []byte, _ int64) (int, syscall.Errno) { return len(p), 0 }
func (still) Poll(func()) uint32                                              { return 1 }
func (still) Release()                                                        {}

func TestReadsAllocateNothing(t *testing.T) {
	s := deviceless(t, still{newTree()})
	s.answer(openMessage(2))
	for name, msg := range map[string][]byte{
		"read":  readMessage(0, 4),
		"write": message(opWrite, 5, 2, append(words(0, 0, two(1, 0), 0, 0), '1')...),
		"poll":  message(opPoll, 9, 2, words(0, 7, two(pollScheduleWake, 1))...),
	} {
		if n := testing.AllocsPerRun(1000, func() { s.answer(msg) }); n != 0 {
			t.Errorf("a %s allocates %v times", name, n)
		}
	}
}
