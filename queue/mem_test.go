package queue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMem(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Driver { return queue.New() })
}

// TestCallsEndWithTheServer races calls with servers that come and go: every
// call ends, at once, one way or the other.
func TestCallsEndWithTheServer(t *testing.T) {
	q := queue.New()
	var callers, servers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := q.Call(t.Context(), "a", "m", 1, nil)
				if err != nil && s4t.KindOf(err) != s4t.Unavailable {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		var once sync.Once
		servers.Go(func() {
			q.Serve(ctx, "a", "1", 2, func(_ context.Context, _ string, body []byte) ([]byte, error) {
				once.Do(func() { close(served) })
				return body, nil
			})
		})
		<-served
		cancel()
		servers.Wait()
	}
	close(stop)
	callers.Wait()
}

func TestInternalErrorsAreLoggedWhereTheyHappen(t *testing.T) {
	var buf bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return buf.Write(b)
	}), nil))
	q := queue.New(queue.WithLog(log))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		q.Serve(ctx, "a", "1", 1, func(_ context.Context, method string, _ []byte) ([]byte, error) {
			switch method {
			case "panic":
				panic("boom")
			case "internal":
				return nil, s4t.Errorf(s4t.Internal, "do it", "", "broken: %w", errors.New("the cause"))
			}
			return nil, s4t.Errorf(s4t.NotFound, "find it", "", "not there")
		})
	})
	for _, method := range []string{"missing", "panic", "internal"} {
		for s4t.KindOf(q.Call(t.Context(), "a", method, nil, nil)) == s4t.Unavailable {
		}
	}
	cancel()
	wg.Wait()
	text := buf.String()
	for _, want := range []string{"panic=boom", "the cause", "method=internal"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "not there") {
		t.Errorf("the log repeats what the caller was told:\n%s", text)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func BenchmarkCall(b *testing.B) {
	q := queue.New()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go q.Serve(ctx, "a", "1", 64, func(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil })
	for q.Call(ctx, "a", "m", 1, nil) != nil {
	}
	b.ReportAllocs()
	for b.Loop() {
		var got int
		if err := q.Call(ctx, "a", "m", 1, &got); err != nil {
			b.Fatal(err)
		}
	}
}
