package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// reader follows events for the whole time.
type reader struct {
	stream *apiclient.EventStream

	mu    sync.Mutex // guards the fields below
	heard []s4t.Event
	grown chan struct{}
}

func (r *reader) read(d *drill) {
	for e := range r.stream.All() {
		r.mu.Lock()
		if n := len(r.heard); n > 0 && e.ID <= r.heard[n-1].ID || e.Kind == apiclient.EventReset {
			d.isWrong("after event %+v comes %+v", r.heard[max(n-1, 0)], e)
		}
		r.heard = append(r.heard, e)
		close(r.grown)
		r.grown = make(chan struct{})
		r.mu.Unlock()
	}
	if err := r.stream.Err(); err != nil {
		d.isWrong("who follows events: %v", err)
	}
}

func (r *reader) last() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heard) == 0 {
		return 0
	}
	return r.heard[len(r.heard)-1].ID
}

// reached is closed once the reader has heard of an event, or when it is too late.
func (r *reader) reached(event func(s4t.Event) bool, late time.Time) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		end := time.After(time.Until(late))
		for from := 0; ; {
			r.mu.Lock()
			grown, news := r.grown, r.heard[from:]
			from = len(r.heard)
			r.mu.Unlock()
			if slices.ContainsFunc(news, event) {
				return
			}
			select {
			case <-grown:
			case <-end:
				return
			}
		}
	}()
	return done
}

func endOfOperation(e s4t.Event) bool {
	status, ok := strings.CutPrefix(e.Kind, "operation.")
	return ok && s4t.OperationStatus(status).Ended()
}

// finishEvents: each who followed them all the time has heard what the log of events
// has, in its order; and each operation's end was told once.
func (l *ledger) finishEvents() {
	late := time.Now().Add(time.Minute)
	for _, r := range l.load.readers {
		for id := range l.ended {
			<-r.reached(func(e s4t.Event) bool { return e.Object == string(id) && endOfOperation(e) }, late)
		}
	}
	last := l.load.readers[0].last()
	ctx, cancel := context.WithTimeout(l.d.t.Context(), time.Minute)
	defer cancel()
	first := min(l.load.readers[0].heard[0].ID, l.load.readers[1].heard[0].ID)
	s, err := l.admin[0].Events(ctx, apiclient.EventsOptions{After: max(first-1, 1), Once: true})
	must(l.d.t, err)
	defer s.Close()
	var kept []s4t.Event
	ends := map[string]int{}
	for e := range s.All() {
		kept = append(kept, e)
		if endOfOperation(e) {
			ends[e.Object]++
		}
		if e.ID >= last {
			break
		}
	}
	for id, what := range l.ended {
		if ends[string(id)] != 1 {
			l.d.isWrong("the end of operation %s (%s) was told %d times", id, what, ends[string(id)])
		}
	}
	for n, r := range l.load.readers {
		<-r.reached(func(e s4t.Event) bool { return e.ID == last }, late)
		var text strings.Builder
		for _, e := range r.heard {
			fmt.Fprintln(&text, e.At.Format(time.RFC3339Nano), e.ID, e.Kind, e.Object, e.Name, e.Board, e.Detail)
		}
		must(l.d.t, os.WriteFile(filepath.Join(l.d.Lab.Dir, fmt.Sprintf("events%d.log", n)), []byte(text.String()), 0o600))
		var was []s4t.Event
		for _, e := range kept {
			if e.ID >= r.heard[0].ID {
				was = append(was, e)
			}
		}
		for i := range min(len(was), len(r.heard)) {
			if was[i].ID != r.heard[i].ID || was[i].Kind != r.heard[i].Kind {
				l.d.isWrong("reader %d has heard %+v where the log has %+v", n, r.heard[i], was[i])
				break
			}
		}
		if len(r.heard) < len(was) {
			l.d.isWrong("reader %d has heard %d of %d events", n, len(r.heard), len(was))
		}
	}
}
