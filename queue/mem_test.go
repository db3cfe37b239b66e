package queue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMem(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Driver { return queue.New() })
}

// TestMemWithFaults holds that the tests ask for no more than the contract.
func TestMemWithFaults(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Driver {
		return queue.New(queue.WithFaults(queue.Faults{Duplicate: 2, Late: 3, Lose: 2}))
	})
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		faults queue.Faults
		send   func(ctx context.Context, q *queue.Mem, i int) error
		want   []string // of four messages, sent one after the other
	}{
		{"none", queue.Faults{}, func(ctx context.Context, q *queue.Mem, i int) error { return q.Cast(ctx, "a", "m", i) }, []string{"0", "1", "2", "3"}},
		{"every second cast twice", queue.Faults{Duplicate: 2}, func(ctx context.Context, q *queue.Mem, i int) error { return q.Cast(ctx, "a", "m", i) }, []string{"0", "1", "1", "2", "3", "3"}},
		{"every third cast late", queue.Faults{Late: 3}, func(ctx context.Context, q *queue.Mem, i int) error { return q.Cast(ctx, "a", "m", i) }, []string{"0", "1", "3", "2"}},
		{"calls once", queue.Faults{Duplicate: 2, Late: 2, Lose: 2}, func(ctx context.Context, q *queue.Mem, i int) error { return q.Call(ctx, "a", "m", i, nil) }, []string{"0", "1", "2", "3"}},
		{"every third answer lost", queue.Faults{Unanswered: 3}, func(ctx context.Context, q *queue.Mem, i int) error {
			err := q.Call(ctx, "a", "m", i, nil)
			if (s4t.KindOf(err) == s4t.Unavailable) != (i == 2) {
				return err
			}
			return nil
		}, []string{"0", "1", "2", "3"}},
		{"every second fan-out lost", queue.Faults{Lose: 2}, func(ctx context.Context, q *queue.Mem, i int) error { return q.Fanout(ctx, "a", "m", i) }, []string{"0", "2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := queue.New(queue.WithFaults(tt.faults))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got []string
				go q.Serve(ctx, "a", "1", 1, func(_ context.Context, _ string, body []byte) ([]byte, error) {
					got = append(got, string(body))
					return nil, nil
				})
				synctest.Wait()
				for i := range 4 {
					if err := tt.send(ctx, q, i); err != nil {
						t.Error(err)
					}
					synctest.Wait()
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if !slices.Equal(got, tt.want) {
					t.Errorf("handled %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestWhileTheQueueIsDownNothingIsSent(t *testing.T) {
	q := queue.New()
	ctx, cancel := context.WithCancel(t.Context())
	var server sync.WaitGroup
	server.Go(func() {
		q.Serve(ctx, "a", "1", 1, func(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil })
	})
	defer server.Wait()
	defer cancel()
	for q.Call(ctx, "a", "m", 1, nil) != nil {
	}
	q.Down()
	for name, err := range map[string]error{"call": q.Call(ctx, "a", "m", 1, nil), "cast": q.Cast(ctx, "a", "m", 1), "fan-out": q.Fanout(ctx, "a", "m", 1)} {
		if s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	q.Up()
	if err := q.Call(ctx, "a", "m", 1, nil); err != nil {
		t.Errorf("up again: %v", err)
	}
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
