package router

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stack4things/s4t/wamp"
)

// A board registers and subscribes as it joins, without a message for each; what it
// may not have it is told as always, when it asks for it.
func TestABoardOffersAsItJoins(t *testing.T) {
	w := newWorld(t)
	echo := func(_ context.Context, arg string) (string, error) { return "echo " + arg, nil }
	many := map[string]wamp.Handler{}
	for i := range wamp.MaxJoined + 1 {
		many[fmt.Sprint("n", i)] = echo
	}
	for _, tt := range []struct {
		name       string
		procedures map[string]wamp.Handler
		offered    bool
	}{
		{"its own", map[string]wamp.Handler{wamp.Ping: echo, wamp.Doctor: echo}, true},
		{"the cloud's", map[string]wamp.Handler{wamp.Ping: echo, wamp.Desired: echo}, false},
		{"no name", map[string]wamp.Handler{"a b": echo}, false},
		{"too many", many, false},
		{"nothing", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			woken := make(chan string, 1)
			cfg := wamp.JoinConfig{Board: w.boards[0], Key: w.keys[0], Procedures: tt.procedures}
			if tt.procedures != nil {
				cfg.Topics = map[string]func(string){wamp.Wake: func(arg string) { woken <- arg }}
			}
			s, welcome, err := wamp.Join(t.Context(), w.dial(w.addr), cfg)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Run(context.Background()) }()
			defer func() { s.Close(); <-ended; <-w.left }()
			who := <-w.joined
			if tt.offered && !welcome.Offered {
				t.Fatal("the router has taken nothing of it")
			}
			if !tt.offered {
				// By messages all that may be is possible, under the ids that are left.
				if err := s.Register(t.Context(), wamp.BoardURI(w.boards[0], wamp.Ping), echo); err != nil {
					t.Errorf("register: %v", err)
				}
			}
			if answer, err := w.r.Call(t.Context(), who, wamp.Ping, "x"); answer != "echo x" {
				t.Errorf("call: %q, %v", answer, err)
			}
			if !tt.offered {
				return
			}
			if err := w.r.Publish(t.Context(), wamp.BoardURI(w.boards[0], wamp.Wake), "7"); err != nil {
				t.Error(err)
			}
			if got := wait(t, "the event", woken, time.Minute); got != "7" {
				t.Errorf("event %q", got)
			}
			if err := s.Register(t.Context(), wamp.BoardURI(w.boards[0], wamp.Ping), echo); err == nil {
				t.Error("a name was registered twice")
			}
		})
	}
}
