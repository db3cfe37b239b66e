package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// What a Call promises.

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

func testTooLong(t *testing.T, d Driver) {
	serve(t, d, "a", "1", 1, echo)
	long := string(make([]byte, s4t.MaxMessage))
	if err := d.Call(t.Context(), "a", "m", long, nil); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("%v", err)
	}
}
