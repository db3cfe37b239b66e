package router

import (
	"context"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wamp"
)

// TestWhoWatchesThePath: where the kernels at both ends do, the board alone pings, and
// the cloud says how often.
func TestWhoWatchesThePath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relayed, _ := cutter(t, w.addr)
	for _, tt := range []struct {
		name, addr string
		says       func(*gorilla) string
		want       time.Duration
	}{
		{"a board that does not know of it", w.addr, func(*gorilla) string { return "" }, 0},
		{"a board that dials directly", w.addr, func(g *gorilla) string { return g.LocalAddr().String() }, s4t.PresencePing},
		{"a board behind a NAT", w.addr, func(*gorilla) string { return "192.0.2.1:1234" }, s4t.PresencePing},
		{"a board behind something that ends its connection", relayed, func(g *gorilla) string { return g.LocalAddr().String() }, 0},
		{"a board that says something else", w.addr, func(*gorilla) string { return "here" }, 0},
	} {
		g := w.dial(tt.addr)
		s, welcome, err := wamp.Join(t.Context(), g, wamp.JoinConfig{Board: w.boards[0], Key: w.keys[0], Path: tt.says(g)})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if welcome.Ping != tt.want {
			t.Errorf("%s is to ping every %v, want %v", tt.name, welcome.Ping, tt.want)
		}
		s.Close()
	}
}

// TestAnIdleSessionIsParked: it has no goroutine, and goes on when something comes, and
// answers pings.
func TestAnIdleSessionIsParked(t *testing.T) {
	w := newWorld(t)
	g := w.dial(w.addr)
	s, _, err := wamp.Join(t.Context(), g, wamp.JoinConfig{Board: w.boards[0], Key: w.keys[0], Path: g.LocalAddr().String()})
	if err != nil {
		t.Fatal(err)
	}
	pongs := make(chan struct{}, 1)
	g.SetPongHandler(func(string) error { pongs <- struct{}{}; return nil })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	who := wait(t, "joined", w.joined, time.Minute)
	if _, err := s.Call(t.Context(), wamp.BoardURI(w.boards[0], wamp.Connected), "{}"); err != nil {
		t.Fatal(err)
	}
	w.r.Begun(who)
	p := w.r.peer(who)
	for n := range 3 {
		parked := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.conn.Parked() && !p.writing
		}
		for deadline := time.Now().Add(time.Minute); !parked(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it is not parked")
			}
		}
		if _, err := s.Call(t.Context(), wamp.BoardURI(w.boards[0], wamp.Desired), "{}"); err != nil {
			t.Errorf("call %d: %v", n, err)
		}
		g.mu.Lock()
		err := g.WriteMessage(int(rtunnel.OpPing), nil)
		g.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		wait(t, "a pong", pongs, time.Minute)
	}
	w.r.mu.Lock()
	if p.clock != nil {
		t.Error("it has a timer")
	}
	w.r.mu.Unlock()
	cancel()
	if err := wait(t, "the end", ended, time.Minute); err != nil {
		t.Error(err)
	}
}
