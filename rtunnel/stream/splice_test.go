package stream_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/loopback"
)

// bulky is more than it takes for the kernel to move a stream's bytes, and no
// multiple of anything.
const bulky = 9<<20 + 4711

func TestBulkyStreamsArriveWholeAndTheRtunnelIsUsedAgain(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	sent := make([]byte, bulky)
	rand.Read(sent)
	for _, size := range []int{bulky, 5, bulky, 3 << 20, 0} { // both directions at once, in turn with small ones
		user, result := r.connect(target)
		go func() {
			user.Write(sent[:size])
			user.CloseWrite()
		}()
		got, err := io.ReadAll(user)
		if err != nil || !bytes.Equal(got, sent[:size]) {
			t.Fatalf("%d bytes came back as %d others, %v", size, len(got), err)
		}
		if err := <-result; err != nil {
			t.Fatalf("Connect = %v, want nil", err)
		}
	}
	if n := r.dialled.Load(); n > 3 {
		t.Errorf("5 streams one after another took %d rtunnels, want a few", n)
	}
}

func TestBulkyStreamMayTurnSmallAndBulkyAgain(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	user, result := r.connect(target)
	big, small := make([]byte, 3<<20), []byte("a small one")
	rand.Read(big)
	for range 3 {
		for range 12 { // leaves splicing
			user.Write(small)
			got := make([]byte, len(small))
			if _, err := io.ReadFull(user, got); err != nil || !bytes.Equal(got, small) {
				t.Fatalf("read %q, %v", got, err)
			}
		}
		go user.Write(big)
		got := make([]byte, len(big))
		if _, err := io.ReadFull(user, got); err != nil || !bytes.Equal(got, big) {
			t.Fatalf("%d bytes came back as others, %v", len(big), err)
		}
	}
	user.CloseWrite()
	if rest, err := io.ReadAll(user); err != nil || len(rest) > 0 {
		t.Errorf("read %d bytes after the end, %v", len(rest), err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestBulkyStreamKeepsHalfCloseBackPressureAndResets(t *testing.T) {
	t.Run("an answer after the end of a bulky question", func(t *testing.T) {
		r := newRig(t, 1)
		target := loopback.Serve(t, func(c *net.TCPConn) {
			h := sha256.New()
			time.Sleep(50 * time.Millisecond) // until all buffers are full
			io.Copy(h, c)
			fmt.Fprintf(c, "%x", h.Sum(nil))
		})
		question := make([]byte, bulky)
		rand.Read(question)
		user, result := r.connect(target)
		user.Write(question)
		user.CloseWrite()
		got, err := io.ReadAll(user)
		if want := fmt.Sprintf("%x", sha256.Sum256(question)); err != nil || string(got) != want {
			t.Errorf("answer %q, %v; want %q", got, err, want)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
	flood := func(c *net.TCPConn) {
		b := make([]byte, 256<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	t.Run("a reset by the service", func(t *testing.T) {
		r := newRig(t, 1)
		target := loopback.Serve(t, func(c *net.TCPConn) {
			c.Write(make([]byte, bulky))
			c.SetLinger(0)
		})
		user, result := r.connect(target)
		if _, err := io.Copy(io.Discard, user); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the user sees %v, want a reset", err)
		}
		if err := <-result; err == nil {
			t.Error("Connect reports a clean end")
		}
	})
	t.Run("a user that leaves in the middle", func(t *testing.T) {
		r := newRig(t, 1)
		ended := make(chan struct{})
		target := loopback.Serve(t, func(c *net.TCPConn) { flood(c); close(ended) })
		user, result := r.connect(target)
		io.CopyN(io.Discard, user, bulky)
		user.Close()
		<-ended
		if err := <-result; err == nil {
			t.Error("Connect reports a clean end")
		}
	})
	t.Run("a board that dies in the middle is a reset, not an end", func(t *testing.T) {
		r := newRig(t, 1)
		target := loopback.Serve(t, flood)
		user, result := r.connect(target)
		io.CopyN(io.Discard, user, bulky)
		r.stopPool()
		if _, err := io.Copy(io.Discard, user); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the user sees %v, want a reset", err)
		}
		if err := <-result; err == nil {
			t.Error("Connect reports a clean end")
		}
	})
}
