package queuetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// What is promised under load, and when something ends.

func testWorkers(t *testing.T, d Driver) {
	const workers = 4
	in, out := make(chan struct{}, 100), make(chan struct{})
	serve(t, d, "a", "1", workers, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		in <- struct{}{}
		select {
		case <-out:
		case <-ctx.Done():
		}
		return nil, nil
	})
	for range 2 * workers {
		if err := d.Cast(t.Context(), "a", "m", nil); err != nil {
			t.Fatal(err)
		}
	}
	for range workers {
		receive(t, in)
	}
	select {
	case <-in:
		t.Error("more than all workers are at work")
	case <-time.After(20 * time.Millisecond): // nothing is to happen: no event to wait for
	}
	close(out)
	for range workers {
		receive(t, in)
	}
}

func testFull(t *testing.T, d Driver) {
	block := make(chan struct{})
	serve(t, d, "a", "1", 1, func(context.Context, string, []byte) ([]byte, error) {
		<-block
		return nil, nil
	})
	defer close(block)
	full := false
	for range 4 * queue.Depth {
		if err := d.Cast(t.Context(), "a", "m", nil); err != nil {
			full = true
			if s4t.KindOf(err) != s4t.Unavailable {
				t.Errorf("full: %v", err)
			}
			break
		}
	}
	if !full {
		t.Error("it takes messages without end")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if kind := s4t.KindOf(d.Call(ctx, "a", "m", nil, nil)); kind != s4t.Unavailable && kind != s4t.Timeout {
		t.Errorf("a call to a full server: %s", kind)
	}
}

// testFullBeside holds that one server which is full keeps no other from a fan-out, and is no
// error: who sent it again would send it twice to those who had room.
func testFullBeside(t *testing.T, d Driver) {
	block, got := make(chan struct{}), make(chan struct{}, 100)
	serve(t, d, "a", "full", 1, func(context.Context, string, []byte) ([]byte, error) {
		<-block
		return nil, nil
	})
	defer close(block)
	for _, name := range []string{"roomy", "roomier"} {
		serve(t, d, "a", name, 1, func(context.Context, string, []byte) ([]byte, error) {
			got <- struct{}{}
			return nil, nil
		})
	}
	for d.Cast(t.Context(), "a.full", "m", nil) == nil {
	}
	for range 2 { // every second may be lost
		if err := d.Fanout(t.Context(), "a", "m", nil); err != nil {
			t.Errorf("a fan-out to a full server and another: %v", err)
		}
	}
	receive(t, got)
}

// testOrder: what was begun as a server was told to end is done as if it were not.
func testOrder(t *testing.T, d Driver) {
	in, ending := make(chan struct{}, 1), make(chan struct{})
	stop := serve(t, d, "a", "1", 1, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		in <- struct{}{}
		<-ending
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond): // of work
			return body, nil
		}
	})
	called := make(chan error, 1)
	go func() { called <- d.Call(t.Context(), "a", "m", 1, nil) }()
	receive(t, in)
	stopped := make(chan struct{})
	go func() { defer close(stopped); close(ending); stop() }()
	if err := receive(t, called); err != nil {
		t.Errorf("a call that had begun: %v", err)
	}
	receive(t, stopped)
}

func testEnd(t *testing.T, d Driver) {
	in, out := make(chan struct{}, 10), make(chan struct{})
	stop := serve(t, d, "a", "1", 1, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		in <- struct{}{}
		<-ctx.Done()
		<-out
		return body, nil
	})
	result := make(chan error, 1)
	var got int
	go func() { result <- d.Call(context.Background(), "a", "m", 5, &got) }()
	receive(t, in)
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	select {
	case <-stopped:
		t.Error("Serve ended before its handler")
	case <-time.After(20 * time.Millisecond):
	}
	close(out)
	if err := receive(t, result); err != nil || got != 5 {
		t.Errorf("what had begun: %d, %v", got, err)
	}
	receive(t, stopped)
}

func testMany(t *testing.T, d Driver) {
	serve(t, d, "a", "1", 8, echo)
	serve(t, d, "a", "2", 8, echo)
	var wg sync.WaitGroup
	for c := range 50 {
		wg.Go(func() {
			for i := range 20 {
				want, got := c*1000+i, 0
				if err := d.Call(t.Context(), "a", "m", want, &got); err != nil || got != want {
					t.Errorf("got %d, want %d: %v", got, want, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// testRestart holds that calls under way end, and that servers are reached again
// without a word of theirs.
func testRestart(t *testing.T, d Driver) {
	r, ok := d.(Restarter)
	if !ok {
		t.Skip("this driver's broker cannot be restarted")
	}
	in, out := make(chan struct{}, 10), make(chan struct{})
	defer close(out)
	serve(t, d, "a", "1", 16, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "block" {
			in <- struct{}{}
			<-out
		}
		return body, nil
	})
	told := make(chan struct{}, 1000)
	serve(t, d, "b", "1", 1, func(context.Context, string, []byte) ([]byte, error) {
		told <- struct{}{}
		return nil, nil
	})
	for range 3 {
		result := make(chan error, 1)
		go func() { result <- d.Call(context.Background(), "a", "block", nil, nil) }()
		receive(t, in)
		r.Restart()
		if kind := s4t.KindOf(receive(t, result)); kind != s4t.Unavailable && kind != s4t.Timeout {
			t.Errorf("a call under way: %s", kind)
		}
		reach(t, d, "a")
		reach(t, d, "a.1")
		for len(told) > 0 {
			<-told
		}
		eventually(t, "a fan-out arrives", func() bool {
			if err := d.Fanout(t.Context(), "b", "m", nil); err != nil && s4t.KindOf(err) != s4t.Unavailable {
				t.Fatal(err)
			}
			return len(told) > 0
		})
	}
}
