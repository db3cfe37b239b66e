package stream_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/loopback"
)

// parked waits until as many goroutines of streams are left as want.
func (r *rig) parked(want int) {
	r.t.Helper()
	var n int
	for range 100 {
		r.opener.Sweep()
		b := make([]byte, 1<<20)
		stacks := string(b[:runtime.Stack(b, true)])
		if n = strings.Count(stacks, "stream.(*streamConn).read(") + strings.Count(stacks, "stream.(*streamConn).pump("); n == want {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	r.t.Fatalf("%d goroutines wait for bytes of idle streams, want %d", n, want)
}

func TestIdleStreamsHoldNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("they do elsewhere")
	}
	for name, rig := range map[string]func(testing.TB, int) *rig{"ws": newRig, "wss": newTLSRig} {
		t.Run(name, func(t *testing.T) {
			r := rig(t, 1)
			target := loopback.Serve(t, echo)
			user, result := r.connect(target)
			leaves, left := r.connect(target)
			say := func(c net.Conn, text string) {
				t.Helper()
				io.WriteString(c, text)
				got := make([]byte, len(text))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
					t.Fatalf("read %q, %v; want %q", got, err, text)
				}
			}
			say(user, "before")
			say(leaves, "before")
			for range 2 {
				r.parked(0)
				say(user, "and after it was parked")
			}
			r.parked(0)
			leaves.SetLinger(0)
			leaves.Close()
			if err := <-left; err == nil {
				t.Error("a reset of a parked stream is a clean end")
			}
			user.CloseWrite()
			if rest, err := io.ReadAll(user); err != nil || len(rest) > 0 {
				t.Errorf("read %q, %v after the end", rest, err)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
			r.parked(0) // rtunnels without a stream

			user, result = r.connect(target)
			say(user, "on an rtunnel that was parked")
			r.parked(0)
			r.stopPool()
			if _, err := io.ReadAll(user); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the user of a parked stream whose board died sees %v, want a reset", err)
			}
			<-result
		})
	}
}
