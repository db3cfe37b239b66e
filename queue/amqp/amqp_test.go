package amqp_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/rabbittest"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/amqp"
	"github.com/stack4things/s4t/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newDriver runs a driver until the test ends.
func newDriver(t testing.TB, url string) *amqp.Driver {
	t.Helper()
	return logTo(t, url, t.Output())
}

// logTo is newDriver with its log on w.
func logTo(t testing.TB, url string, w io.Writer) *amqp.Driver {
	t.Helper()
	d, err := amqp.New(amqp.Config{URL: url, Name: t.Name(), Log: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return d
}

// patience bounds what is waited for, on a machine however busy.
const patience = time.Minute

// heard is a log that can be waited for.
type heard chan string

func (h heard) Write(line []byte) (int, error) {
	select {
	case h <- string(line):
	default: // nobody reads any more
	}
	return len(line), nil
}

func (h heard) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-h:
			if strings.Contains(line, text) {
				return
			}
		case <-late:
			t.Fatalf("the log does not say %q", text)
		}
	}
}

// serve serves a topic until the test, or stop, ends it.
func serve(t testing.TB, d *amqp.Driver, topic, server string, workers int, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := d.Serve(ctx, topic, server, workers, h); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); serving.Wait() }
	t.Cleanup(stop)
	return stop
}

// reach waits until a topic is served.
func reach(t testing.TB, d *amqp.Driver, topic string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // one may go to a queue that is just ending
		err := d.Call(ctx, topic, "hello", 1, nil)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not served: %v", topic, err)
		}
	}
}

func echo(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil }

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("it does not come")
		panic("unreachable")
	}
}

// restarting is a driver whose broker goes away for a moment: what is between
// them does.
type restarting struct {
	*amqp.Driver
	way *way
}

func (r restarting) Restart() { r.way.cut() }

func TestConformance(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Driver {
		w := newWay(t, rabbittest.URL(t), nil)
		return restarting{newDriver(t, w.url), w}
	})
}

// TestConformanceOfTwoProcesses has who asks and who serves on connections of
// their own, and only those of who serves cut.
func TestConformanceOfTwoProcesses(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Driver {
		u := rabbittest.URL(t)
		w := newWay(t, u, nil)
		return pair{newDriver(t, u), restarting{newDriver(t, w.url), w}}
	})
}

// TestLongAnswers holds that what may be long gets through, and holds up nothing.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	asks, serves := newDriver(t, u), newDriver(t, u)
	serve(t, serves, "a", "1", 8, queue.Mux{
		"hello": echo,
		"long": queue.Handle(func(_ context.Context, n int) (string, error) {
			return strings.Repeat("x", n), nil
		}),
	}.Serve)
	reach(t, asks, "a")
	var calls sync.WaitGroup
	for _, n := range []int{16 << 10, 128<<10 - 1, 1 << 20, queue.MaxReply - 2} {
		calls.Go(func() {
			var got string
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := asks.Call(ctx, "a", "long", n, &got); err != nil || len(got) != n {
				t.Errorf("%d bytes: got %d, %v", n, len(got), err)
			}
		})
	}
	calls.Wait()
	if err := asks.Call(t.Context(), "a", "long", queue.MaxReply, nil); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("more than a reply may be: %v", err)
	}
}

// TestWhatWaitsGoesToAnother holds that a server which ends hands on what it has
// not begun: nobody who asked hears of it.
func TestWhatWaitsGoesToAnother(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	asks, first, second := newDriver(t, u), newDriver(t, u), newDriver(t, u)
	in, out := make(chan struct{}, 1), make(chan struct{})
	stop := serve(t, first, "a", "1", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "block" {
			in <- struct{}{}
			<-out
		}
		return body, nil
	})
	reach(t, asks, "a.1")
	results := make(chan error, 2)
	ask := func(method string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		results <- asks.Call(ctx, "a", method, 1, nil)
	}
	go ask("block")
	receive(t, in)
	go ask("wait") // it waits behind the other
	serve(t, second, "a", "2", 1, echo)
	reach(t, asks, "a.2")
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	if err := receive(t, results); err != nil {
		t.Errorf("what was not begun: %v", err)
	}
	close(out)
	if err := receive(t, results); err != nil {
		t.Errorf("what was begun: %v", err)
	}
	receive(t, stopped)
}

func BenchmarkCall(b *testing.B) {
	u := rabbittest.URL(b)
	asks, serves := newDriver(b, u), newDriver(b, u)
	serve(b, serves, "a", "1", 64, echo)
	reach(b, asks, "a")
	b.Run("one caller", func(b *testing.B) {
		for b.Loop() {
			var got int
			if err := asks.Call(b.Context(), "a", "m", 1, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("16 callers a core", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				var got int
				if err := asks.Call(b.Context(), "a", "m", 1, &got); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
