package rtunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// writes counts the writes to a descriptor.
type writes struct {
	syscall.RawConn
	n int
}

func (w *writes) Write(f func(fd uintptr) bool) error {
	w.n++
	return w.RawConn.Write(f)
}

func TestABatchIsOneWriteOverTLS(t *testing.T) {
	a, b := tlsPair(t)
	under := batchUnder(a)
	if under == nil || batchUnder(b) == nil {
		t.Fatal("the recordBatch under TLS is not found")
	}
	counted := &writes{RawConn: under.out.raw}
	under.out.raw = counted
	client, server := NewConn(a, nil, true), NewConn(b, nil, false)
	defer client.Close()
	defer server.Close()
	run := layFor(client, 256<<10)
	for run.add(make([]byte, 60_000)) {
	}
	var wg sync.WaitGroup
	stop := errors.New("enough")
	wg.Go(func() {
		n := 0
		server.ReadFrames(60_000, func([]byte) error {
			if n++; n == 4 {
				return stop
			}
			return nil
		}, nil)
	})
	counted.n = 0
	if err := run.send(client); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if counted.n != 1 {
		t.Errorf("240 kB took %d writes, want 1", counted.n)
	}
	if under.kept != nil {
		t.Error("it holds a buffer after the write")
	}
}

func TestARecordBatchKeepsDeadlines(t *testing.T) {
	a, _ := tlsPair(t)
	a.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := a.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if batchUnder(a).buf != nil {
		t.Error("it holds a buffer")
	}
}

func TestARecordBatchKeepsHalfCloseAndOrder(t *testing.T) {
	a, b := tlsPair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; i < len(want); i += 1 << 17 {
			a.Write(want[i : i+1<<17])
		}
		a.(*tls.Conn).CloseWrite()
	})
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
	}
	wg.Wait()
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	answer := make([]byte, 6)
	if _, err := io.ReadFull(a, answer); err != nil || string(answer) != "answer" {
		t.Error(answer, err)
	}
}
