// Package queuetest holds what every driver of package queue must do. A
// driver's test calls [Run].
package queuetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// Driver is the method set of every driver.
type Driver interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
	Cast(ctx context.Context, topic, method string, req any) error
	Fanout(ctx context.Context, topic, method string, req any) error
	Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error
}

// Restarter is a driver whose broker the tests may restart. After Restart the
// broker is back, and drivers find it again by themselves.
type Restarter interface{ Restart() }

// Run runs the tests against a driver. newDriver makes a fresh, empty one and
// sees to its end. A driver may do all that the contract of package queue leaves
// to it: messages that come twice or late, fan-outs that are lost.
func Run(t *testing.T, newDriver func(t *testing.T) Driver) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, d Driver)
	}{
		{"a call is answered", testCall},
		{"nobody on the topic is unavailable, soon", testNobody},
		{"an error crosses with its kind and without its cause", testErrors},
		{"a panic is an internal error and the server goes on", testPanic},
		{"an unknown method is not found, a bad body invalid", testMux},
		{"messages are copies", testCopies},
		{"what a message is sent for goes with it", testOrigin},
		{"what is cast arrives, in any order", testCast},
		{"servers of one topic share its messages", testShare},
		{"a server is reached by its name", testServerName},
		{"a fan-out reaches every server, and nobody is no error", testFanout},
		{"many workers work at the same time, and no more", testWorkers},
		{"a call ends with its context, and so does its handler", testDeadline},
		{"a full server takes no more", testFull},
		{"a full server keeps no other from a fan-out", testFullBeside},
		{"a server that ends answers what it began", testEnd},
		{"what was begun goes on for a moment where its server ends", testOrder},
		{"what is too long is refused", testTooLong},
		{"many callers at the same time", testMany},
		{"after a restart of the broker everything goes on", testRestart},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newDriver(t)) })
	}
}

// patience is the most that anything here waits for.
const patience = 10 * time.Second

// serve runs a server until the test, or stop, ends it, and returns when it is
// reached.
func serve(t *testing.T, d Driver, topic, server string, workers int, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	name := server
	if name == "" {
		name = s4t.NewID()
	}
	ended := make(chan error, 1)
	go func() {
		ended <- d.Serve(ctx, topic, name, workers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
			if method == "queuetest.hello" {
				return []byte("{}"), nil
			}
			return h(ctx, method, body)
		})
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("Serve returned %v", err)
				}
			case <-time.After(patience):
				t.Error("Serve does not end")
			}
		})
	}
	t.Cleanup(stop)
	reach(t, d, topic+"."+name)
	return stop
}

// reach returns when a server answers.
func reach(t *testing.T, d Driver, topic string) {
	t.Helper()
	eventually(t, topic+" answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.Call(ctx, topic, "queuetest.hello", nil, nil)
		if kind := s4t.KindOf(err); err != nil && kind != s4t.Unavailable && kind != s4t.Timeout {
			t.Fatalf("%s is not reached: %v", topic, err)
		}
		return err == nil
	})
}

// eventually asks until it is so: there is no event for it.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so in %v: %s", patience, what)
		}
	}
}

// echo answers with what it was asked.
func echo(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil }

// receive takes one value, or fails the test.
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
