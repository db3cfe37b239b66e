//go:build unix

package rawio

import (
	"bytes"
	"syscall"
	"testing"
)

func TestReadAndWrite(t *testing.T) {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	r, w := fds[0], fds[1]
	defer syscall.Close(r)
	for _, fd := range fds {
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 16)
	if n, err := Read(r, buf); n != 0 || err != syscall.EAGAIN {
		t.Errorf("an empty pipe gives %d, %v", n, err)
	}
	if n, err := Write(w, []byte("hello")); n != 5 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if n, err := Read(r, buf); !bytes.Equal(buf[:n], []byte("hello")) || err != nil {
		t.Errorf("Read = %q, %v", buf[:n], err)
	}
	if n, err := Write(w, nil); n != 0 || err != nil {
		t.Errorf("Write of nothing = %d, %v", n, err)
	}
	for {
		if n, err := Write(w, make([]byte, 4096)); err != nil {
			if n != 0 || err != syscall.EAGAIN {
				t.Errorf("a full pipe takes %d, %v", n, err)
			}
			break
		}
	}
	syscall.Close(w)
	if n, err := Read(-1, buf); n != 0 || err != syscall.EBADF {
		t.Errorf("no descriptor gives %d, %v", n, err)
	}
	if n := testing.AllocsPerRun(100, func() { Read(-1, buf) }); n != 0 {
		t.Errorf("an error allocates %v times", n)
	}
}
