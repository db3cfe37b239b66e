package lightningrod

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
)

// endless is a device whose kernel sends the same frame until it has sent
// enough, in batches of 16.
type endless struct {
	frame []byte
	left  int
}

func (d *endless) ReadFrames(next func() []byte, done func(n int)) (int, error) {
	for n := range 16 {
		if d.left == 0 {
			return n, io.EOF
		}
		buf := next()
		if len(buf) < link.MaxPacket {
			return n, nil
		}
		d.left--
		done(copy(buf, d.frame))
	}
	return 16, nil
}

func (d *endless) Write([]byte) error { return nil }
func (d *endless) Flush() error       { return nil }
func (d *endless) Close() error       { return nil }

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) Close() error                     { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// pumped pumps n frames of a size to nowhere.
func pumped(tb testing.TB, n, size int) {
	p := &port{cfg: newPortBench().cfg}
	conn := rtunnel.NewConn(sink{}, nil, true)
	out, err := vswitch.NewOutlet(vswitch.OutletConfig{Layer: 2, Out: conn, Wrap: (&encap{}).wrapper(conn.NewLayout())})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	var running sync.WaitGroup
	running.Go(func() { out.Run(ctx) })
	p.out.Store(out)
	if err := p.pump(&endless{frame: make([]byte, size), left: n}); err != io.EOF {
		tb.Fatal(err)
	}
	cancel()
	running.Wait()
}

func TestPumpAllocatesNothingForAFrame(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget; make test runs this without it too")
	}
	for _, size := range []int{74, 1524, link.MaxPacket} {
		const frames = 20000
		pumped(t, 100, size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		pumped(t, frames, size)
		runtime.ReadMemStats(&after)
		if n := after.Mallocs - before.Mallocs; n > frames/20 {
			t.Errorf("%d allocations for %d frames of %d bytes", n, frames, size)
		}
	}
}

func BenchmarkPump(b *testing.B) {
	const size = link.HeaderLen + 14 + 64<<10 - 64
	b.SetBytes(size)
	pumped(b, b.N, size)
}
