// Package queuetest holds what every driver of package queue must do. A
// driver's test calls [Run].
package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
		{"what is cast arrives, in any order", testCast},
		{"servers of one topic share its messages", testShare},
		{"a server is reached by its name", testServerName},
		{"a fan-out reaches every server, and nobody is no error", testFanout},
		{"many workers work at the same time, and no more", testWorkers},
		{"a call ends with its context, and so does its handler", testDeadline},
		{"a full server takes no more", testFull},
		{"a server that ends answers what it began", testEnd},
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

func testCall(t *testing.T, d Driver) {
	serve(t, d, "a", "1", 1, echo)
	type message struct {
		Text string
		List []int
	}
	req, got := message{"grüße", []int{1, 2}}, message{}
	if err := d.Call(t.Context(), "a", "echo", req, &got); err != nil || got.Text != req.Text || !slices.Equal(got.List, req.List) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := d.Call(t.Context(), "a", "echo", req, nil); err != nil {
		t.Errorf("with no interest in the answer: %v", err)
	}
}

func testNobody(t *testing.T, d Driver) {
	stop := serve(t, d, "a", "1", 1, echo)
	stop()
	// A server that has just ended may be counted for a moment.
	for _, topic := range []string{"a", "a.1", "never"} {
		eventually(t, "a call to nobody on "+topic+" is unavailable", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := d.Call(ctx, topic, "m", nil, nil)
			if kind := s4t.KindOf(err); kind != s4t.Unavailable && kind != s4t.Timeout {
				t.Fatalf("call %s: %v", topic, err)
			}
			return s4t.KindOf(err) == s4t.Unavailable
		})
		eventually(t, "a cast to nobody on "+topic+" is unavailable", func() bool {
			err := d.Cast(t.Context(), topic, "m", nil)
			if err != nil && s4t.KindOf(err) != s4t.Unavailable {
				t.Fatalf("cast %s: %v", topic, err)
			}
			return err != nil
		})
	}
}

func testErrors(t *testing.T, d Driver) {
	secret := errors.New("secret cause")
	serve(t, d, "a", "1", 4, func(_ context.Context, method string, _ []byte) ([]byte, error) {
		switch method {
		case "conflict":
			return nil, s4t.Errorf(s4t.Conflict, "create x", "choose another", "it exists: %w", secret)
		case "wrapped":
			return nil, fmt.Errorf("deep: %w", s4t.Errorf(s4t.Offline, "reach x", "", "it is offline"))
		}
		return nil, secret
	})
	tests := []struct {
		method string
		kind   s4t.Kind
		text   string
	}{
		{"conflict", s4t.Conflict, "create x: it exists: secret cause; choose another"},
		{"wrapped", s4t.Offline, "reach x: it is offline"},
		{"plain", s4t.Internal, "internal error; the operator finds the details in the log of iotronic"},
	}
	for _, tt := range tests {
		err := d.Call(t.Context(), "a", tt.method, nil, nil)
		if s4t.KindOf(err) != tt.kind || err.Error() != tt.text || errors.Is(err, secret) {
			t.Errorf("%s: %v (%s)", tt.method, err, s4t.KindOf(err))
		}
	}
}

func testPanic(t *testing.T, d Driver) {
	serve(t, d, "a", "1", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "panic" {
			panic("boom")
		}
		return body, nil
	})
	if err := d.Call(t.Context(), "a", "panic", nil, nil); s4t.KindOf(err) != s4t.Internal {
		t.Errorf("call: %v", err)
	}
	if err := d.Cast(t.Context(), "a", "panic", nil); err != nil {
		t.Errorf("cast: %v", err)
	}
	if err := d.Call(t.Context(), "a", "echo", 1, nil); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func testMux(t *testing.T, d Driver) {
	mux := queue.Mux{"double": queue.Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil })}
	serve(t, d, "a", "1", 1, mux.Serve)
	var got int
	if err := d.Call(t.Context(), "a", "double", 21, &got); err != nil || got != 42 {
		t.Errorf("got %d, %v", got, err)
	}
	if err := d.Call(t.Context(), "a", "triple", 21, &got); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("unknown method: %v", err)
	}
	if err := d.Call(t.Context(), "a", "double", "x", &got); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("bad body: %v", err)
	}
}

func testCopies(t *testing.T, d Driver) {
	kept := make(chan []byte, 10)
	serve(t, d, "a", "1", 1, func(_ context.Context, _ string, body []byte) ([]byte, error) {
		kept <- body
		return body, nil
	})
	req := map[string]*int{"n": new(1)}
	var got map[string]*int
	if err := d.Call(t.Context(), "a", "m", req, &got); err != nil {
		t.Fatal(err)
	}
	*req["n"], *got["n"] = 2, 3
	if b := <-kept; string(b) != `{"n":1}` {
		t.Errorf("the server has %s", b)
	}
	if err := d.Call(t.Context(), "a", "m", make(chan int), nil); s4t.KindOf(err) != s4t.Internal {
		t.Errorf("what is no JSON: %v", err)
	}
}

func testCast(t *testing.T, d Driver) {
	const n = 500
	got := make(chan int, 10*n)
	serve(t, d, "a", "1", 1, func(_ context.Context, _ string, body []byte) ([]byte, error) {
		var i int
		err := json.Unmarshal(body, &i)
		got <- i
		return nil, err
	})
	missing := map[int]bool{}
	for i := range n {
		missing[i] = true
		if err := d.Cast(t.Context(), "a", "m", i); err != nil {
			t.Fatal(err)
		}
	}
	for len(missing) > 0 {
		delete(missing, receive(t, got))
	}
}

// testShare holds that a busy server does not keep the others idle.
func testShare(t *testing.T, d Driver) {
	const rounds = 20
	type handled struct {
		round  int
		server string
	}
	by := make(chan handled, 10*rounds)
	for _, name := range []string{"1", "2"} {
		serve(t, d, "a", name, 1, func(_ context.Context, _ string, body []byte) ([]byte, error) {
			h := handled{server: name}
			err := json.Unmarshal(body, &h.round)
			by <- h
			time.Sleep(10 * time.Millisecond) // work
			return []byte("1"), err
		})
	}
	shared := 0
	for round := range rounds {
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				if err := d.Call(t.Context(), "a", "m", round, nil); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		servers := map[string]bool{}
		for range 2 {
			h := receive(t, by)
			for h.round != round { // one of before came twice
				h = receive(t, by)
			}
			servers[h.server] = true
		}
		if len(servers) == 2 {
			shared++
		}
	}
	if shared < rounds/2 { // not all: a driver may count a server as busy a moment longer
		t.Errorf("two messages at a time went to both servers in %d of %d rounds", shared, rounds)
	}
}

func testServerName(t *testing.T, d Driver) {
	for _, name := range []string{"1", "2"} {
		serve(t, d, "a", name, 1, func(context.Context, string, []byte) ([]byte, error) {
			return json.Marshal(name)
		})
	}
	for range 10 {
		for _, name := range []string{"1", "2"} {
			var got string
			if err := d.Call(t.Context(), "a."+name, "m", nil, &got); err != nil || got != name {
				t.Fatalf("a.%s answered %q, %v", name, got, err)
			}
		}
	}
}

func testFanout(t *testing.T, d Driver) {
	got := make(chan string, 100)
	for _, name := range []string{"1", "2", "3"} {
		serve(t, d, "a", name, 1, func(_ context.Context, _ string, body []byte) ([]byte, error) {
			got <- name + string(body)
			return nil, nil
		})
	}
	missing := map[string]bool{"17": true, "27": true, "37": true}
	eventually(t, "every server was told", func() bool { // one may be lost
		if err := d.Fanout(t.Context(), "a", "m", 7); err != nil {
			t.Fatal(err)
		}
		for wait := time.After(50 * time.Millisecond); len(missing) > 0; {
			select {
			case s := <-got:
				delete(missing, s)
			case <-wait:
				return false
			}
		}
		return true
	})
	if err := d.Fanout(t.Context(), "never", "m", 7); err != nil {
		t.Errorf("to nobody: %v", err)
	}
}

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

func testDeadline(t *testing.T, d Driver) {
	in, ended := make(chan struct{}, 10), make(chan error, 10)
	serve(t, d, "a", "1", 1, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		in <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.Call(ctx, "a", "m", nil, nil); s4t.KindOf(err) != s4t.Timeout {
		t.Errorf("past the deadline: %v", err)
	}
	receive(t, in)
	receive(t, ended)

	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	go func() {
		<-in
		cancel()
	}()
	if err := d.Call(ctx, "a", "m", nil, nil); s4t.KindOf(err) != s4t.Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	receive(t, ended) // at the deadline at the latest
	if err := d.Call(ctx, "a", "m", nil, nil); err == nil {
		t.Error("a call with a context that has ended succeeded")
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

func testTooLong(t *testing.T, d Driver) {
	serve(t, d, "a", "1", 1, echo)
	long := string(make([]byte, s4t.MaxMessage))
	if err := d.Call(t.Context(), "a", "m", long, nil); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("%v", err)
	}
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
