package router

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// TestSamplesAreServedInTheOrderInWhichTheyCame, one at a time for a board; what else
// it calls does not wait behind them.
func TestSamplesAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	w := newWorld(t)
	const n = 30
	var mu sync.Mutex
	var served []string
	hold, busy := make(chan struct{}), 0
	w.serve = func(_ context.Context, _ Session, procedure, arg string) (string, error) {
		if procedure != wamp.Samples {
			return arg, nil
		}
		if arg == "0" {
			<-hold
		}
		mu.Lock()
		busy++
		if busy > 1 {
			t.Errorf("%d are served at once", busy)
		}
		served = append(served, arg)
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		busy--
		mu.Unlock()
		return arg, nil
	}
	p := w.rawBoard(0)
	call := func(id int, name, arg string) {
		p.Send() <- &nwamp.Call{Request: nwamp.ID(id), Options: nwamp.Dict{}, Procedure: nwamp.URI(wamp.BoardURI(w.boards[0], name)), Arguments: nwamp.List{arg}}
	}
	for i := range n {
		call(i+1, wamp.Samples, strconv.Itoa(i))
	}
	call(n+1, wamp.Desired, "between")
	if r, ok := recv(t, p).(*nwamp.Result); !ok || r.Request != n+1 {
		t.Errorf("the first answer is %+v", r)
	}
	close(hold)
	for i := range n {
		if r, ok := recv(t, p).(*nwamp.Result); !ok || r.Request > n {
			t.Errorf("answer %d is %+v", i, r)
		}
	}
	for i, arg := range served {
		if arg != strconv.Itoa(i) {
			t.Errorf("in place %d came %s", i, arg)
		}
	}
	board := w.r.peer(wait(t, "joined", w.joined, time.Minute))
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		board.mu.Lock()
		left := board.newest != nil || len(board.serving) > 0
		board.mu.Unlock()
		if !left {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what was served is remembered for ever")
		}
	}
}

// TestACallComesBehindTheAnswerToItsRegistration: before it the board does not know
// what the call is for.
func TestACallComesBehindTheAnswerToItsRegistration(t *testing.T) {
	w := newWorld(t)
	s, _ := w.open(w.addr, 0)
	who := wait(t, "joined", w.joined, time.Minute)
	for i := range 100 {
		name := "n" + strconv.Itoa(i)
		var calling sync.WaitGroup
		calling.Go(func() {
			err := error(nil)
			for begun := false; !begun || s4t.KindOf(err) == s4t.Offline; runtime.Gosched() {
				begun = true
				_, err = w.r.Call(t.Context(), who, name, "")
			}
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
		if err := s.Register(t.Context(), wamp.BoardURI(w.boards[0], name), func(context.Context, string) (string, error) { return "", nil }); err != nil {
			t.Error(err)
		}
		calling.Wait()
	}
}
