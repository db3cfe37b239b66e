package sockopt

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/internal/loopback"
)

func TestWatch(t *testing.T) {
	c, peer := loopback.Pair(t)
	if err := Watch(c); err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ level, option, want int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfter},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEvery},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheardTime.Milliseconds())},
	} {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), tt.level, tt.option) }); err != nil {
			t.Fatal(err)
		}
		if got != tt.want || err != nil {
			t.Errorf("option %d is %d, %v; want %d", tt.option, got, err, tt.want)
		}
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		all, lost := Acknowledged(c)
		if lost {
			t.Fatal("a path that is there is lost")
		}
		if all {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a byte is never acknowledged")
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := Watch(a); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a connection without a socket gave %v", err)
	}
}
