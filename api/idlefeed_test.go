package api

import (
	"log/slog"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// written counts how often it is written as JSON.
type written struct{ n *int }

func (w written) MarshalJSON() ([]byte, error) { *w.n++; return []byte("{}"), nil }

// TestAnEventThatNobodyWatches costs no JSON and is not kept; who comes later begins
// after it, and who resumes before it is sent to event.list.
func TestAnEventThatNobodyWatches(t *testing.T) {
	f := newFeed(queue.New(), slog.New(slog.DiscardHandler))
	watched, n := true, 0
	f.watched = func() bool { return watched }
	f.begin(10)
	f.add([]s4t.Event{{ID: 11, Data: written{&n}}})
	if n != 1 || len(f.ring) != 1 {
		t.Fatalf("watched: JSON %d times, %d events kept", n, len(f.ring))
	}
	watched = false
	f.add([]s4t.Event{{ID: 12, Data: written{&n}}, {ID: 13, Data: written{&n}}})
	if n != 1 || len(f.ring) != 0 || f.last() != 13 {
		t.Errorf("nobody watches: JSON %d times, %d events kept, newest %d", n-1, len(f.ring), f.last())
	}
	watched = true
	if _, _, ok := f.after(12); ok {
		t.Error("the ring tells what came after an event of before anybody watched")
	}
	if l, _, ok := f.after(13); !ok || len(l) != 0 {
		t.Errorf("after the newest: %d events, %t", len(l), ok)
	}
	f.add([]s4t.Event{{ID: 14, Data: written{&n}}})
	if l, _, ok := f.after(13); !ok || len(l) != 1 || n != 2 {
		t.Errorf("who came gets %d events, %t", len(l), ok)
	}
}
