package queuetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"
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
