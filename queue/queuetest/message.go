package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/queue"
)

// What a Cast and a Fanout promise, and which server hears them.

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

// testOrigin holds that a handler learns what its message is sent for, and that one who says
// nothing of it, or too much, says nothing.
func testOrigin(t *testing.T, d Driver) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tests := []struct{ says, hears queue.Origin }{
		{queue.Origin{Trace: trace, Operation: "op-1"}, queue.Origin{Trace: trace, Operation: "op-1"}},
		{queue.Origin{Operation: "op-2"}, queue.Origin{Operation: "op-2"}},
		{queue.Origin{Trace: strings.Repeat("x", 100), Operation: "op-3"}, queue.Origin{Operation: "op-3"}},
		{},
	}
	got := make(chan string, 100) // which messages came
	serve(t, d, "a", "1", 1, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		var n int
		err := json.Unmarshal(body, &n)
		if o := queue.OriginOf(ctx); o != tests[n].hears {
			t.Errorf("%s: %+v was heard as %+v", method, tests[n].says, o)
		}
		got <- fmt.Sprint(method, n)
		return []byte("1"), err
	})
	for n, tt := range tests {
		ctx := queue.WithOrigin(t.Context(), tt.says)
		missing := map[string]bool{fmt.Sprint("call", n): true, fmt.Sprint("cast", n): true}
		if err := errors.Join(d.Call(ctx, "a", "call", n, nil), d.Cast(ctx, "a", "cast", n), d.Fanout(ctx, "a", "fanout", n)); err != nil {
			t.Fatal(err)
		}
		for len(missing) > 0 {
			delete(missing, receive(t, got))
		}
	}
}
