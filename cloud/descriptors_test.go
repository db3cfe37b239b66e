package cloud

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/lograte"
)

func TestTheOnePortKeepsDescriptorsOfItsOwn(t *testing.T) {
	for _, limit := range []int{256, 1024, 20_000, 1 << 20} {
		pool, guests := room(limit)
		held := 0
		for {
			if _, ok := pool.Acquire(1); !ok {
				break
			}
			held++
		}
		if held == 0 || held > limit/2 || guests < limit/16 && guests != maxGuests || guests > maxGuests {
			t.Errorf("of %d: %d for rtunnels and public ports, %d guests", limit, held, guests)
		}
	}
	if pool, guests := room(0); pool != nil || guests != maxGuests {
		t.Error("where there is no limit, there is one")
	}
}

// shortListener has no descriptor for the first times that it is asked.
type shortListener struct {
	net.Listener
	times int
	conn  net.Conn
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.times == 0 {
		return l.conn, nil
	}
	l.times--
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
}

func TestWhereNoDescriptorIsLeftTheQuietestGuestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(newGate())
		_, far := connect(t, a, "192.0.2.1", 2)
		var out bytes.Buffer
		near, other := net.Pipe()
		defer near.Close()
		defer other.Close()
		l := roomyListener{&shortListener{times: 50, conn: near}, a, slog.New(slog.NewTextHandler(&out, nil)), &lograte.Line{}}
		began := time.Now()
		c, err := l.Accept()
		if err != nil || c != near {
			t.Errorf("%v, %v", c, err)
		}
		if took := time.Since(began); took != 50*crowdedPause {
			t.Errorf("50 attempts in %v", took)
		}
		for _, f := range far {
			ended(t, "a guest", f)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || len(a.conns) != 0 {
			t.Errorf("%d lines of log, %d guests: %s", n, len(a.conns), out.String())
		}
	})
}
