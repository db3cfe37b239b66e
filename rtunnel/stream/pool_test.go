package stream_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// TestAProblemEndsWithItsTime: what kept rtunnels from being opened before the
// network, or the cloud, came back is not told after it.
func TestAProblemEndsWithItsTime(t *testing.T) {
	changed, trying := make(chan struct{}, 8), make(chan struct{}, 8)
	var first sync.Once
	pool, err := stream.NewPool(stream.PoolConfig{
		Dial: func(context.Context, string, string) (*rtunnel.Conn, error) { return nil, errors.New("nothing there") },
		Connect: func(context.Context, string, string) (stream.HalfCloser, string, error) {
			return nil, "", errors.New("nobody asks")
		},
		Tickets: func(ctx context.Context, _ int) (tickets []string, err error) {
			first.Do(func() { err = errors.New("the cloud stops") })
			if err == nil {
				trying <- struct{}{} // it is back, and takes its time
				<-ctx.Done()
				err = ctx.Err()
			}
			return nil, err
		},
		Changed: func() { changed <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { pool.Run(ctx) })
	defer running.Wait()
	defer cancel()
	pool.Set(&wire.DesiredStreams{URL: "https://127.0.0.1:1", Warm: 1})
	<-changed
	if s := pool.Status(); s.Problem != "the cloud stops" {
		t.Errorf("%+v", s)
	}
	pool.Wake()
	<-trying
	if s := pool.Status(); s.Problem != "" {
		t.Errorf("after the network came back: %+v", s)
	}
}

// TestCutByEndsWhatIsOpenByIt, and nothing else: a stream of the rig is open by its target.
func TestCutByEndsWhatIsOpenByIt(t *testing.T) {
	r := newRig(t, 2)
	over, goes := loopback.Serve(t, echo), loopback.Serve(t, echo)
	one, ended := r.connect(over)
	two, _ := r.connect(goes)
	b := make([]byte, 1)
	for _, c := range []io.ReadWriter{one, two} {
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	r.pool.CutBy(func(by string) bool { return by == over }, errors.New("it is over"))
	if _, err := one.Read(b); err == nil {
		t.Error("what is over goes on")
	}
	if err := <-ended; err == nil {
		t.Error("it ended as if it was done")
	}
	if _, err := io.WriteString(two, "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(two, b); err != nil || b[0] != 'y' {
		t.Errorf("what goes on says %q, %v", b, err)
	}
	two.Close()
}
