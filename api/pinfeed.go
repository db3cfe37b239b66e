package api

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// pinFeed is the watch of one board for one project, for all its clients of this
// process. It lives as long as it has any.
type pinFeed struct {
	feedKey
	hub     *pinHub
	owner   s4t.ProjectID // of the board
	name    string        // of the board, for people
	changed chan struct{} // cap 1: the clients, or the board

	mu      sync.Mutex // guards what follows; a leaf
	clients map[*pinClient]bool
	newest  map[string]*toldSample // by pin, of those that are watched: up to here its samples are known
	away    error                  // why no samples come now; nil: they do
	resume  bool                   // samples may have been missed: the next watch says after which they are wanted
}

// wake has run look again.
func (f *pinFeed) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// add takes a client in.
func (f *pinFeed) add(c *pinClient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first []waiting
	for pin, s := range f.newest {
		if c.watches(pin) {
			first = append(first, waiting{s, s.Merged})
		}
	}
	slices.SortFunc(first, func(x, y waiting) int { return x.At.Compare(y.At) })
	c.queue.Put(first...)
	f.clients[c] = true
	if f.away != nil {
		c.wake()
	}
	f.wake()
}

// heard takes what happened to the board.
func (f *pinFeed) heard(kind string) {
	what := "watch pins of board " + strconv.Quote(f.name)
	switch kind {
	case "board.online":
		f.back()
	case "board.offline":
		f.gone(s4t.Errorf(s4t.Offline, what, "", "it is offline"))
	case "board.deleted":
		f.end(s4t.Errorf(s4t.NotFound, what, "", "it was deleted"), nil)
	}
}

// back asks for the watch anew: the board began a session, or may have.
func (f *pinFeed) back() {
	f.mu.Lock()
	f.resume = true
	f.mu.Unlock()
	f.wake()
}

// gone notes why no samples come, or, with nil, that they do again.
func (f *pinFeed) gone(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s4t.KindOf(f.away) == s4t.KindOf(why) {
		return
	}
	f.away = why
	for c := range f.clients {
		c.wake()
	}
}

// end ends the clients whose caller sees the board no more; with nil, all.
func (f *pinFeed) end(err error, caller *wire.Caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.clients {
		if caller == nil || c.caller.Project == caller.Project && c.caller.Role == caller.Role {
			c.err = err
			delete(f.clients, c)
			c.wake()
		}
	}
	f.wake()
}

// fresh reports whether a sample is newer than those that are known. What no board
// has, more pins than may be, is not taken. Caller holds mu.
func (f *pinFeed) fresh(s s4t.Sample) bool {
	known := f.newest[s.Pin]
	if known == nil {
		return len(f.newest) < s4t.MaxPins && s4t.ValidPinName(s.Pin) == nil
	}
	return s.Newer(known.Sample)
}

// take hands samples to the clients, each once.
func (f *pinFeed) take(list []s4t.Sample) {
	told := make([]waiting, 0, len(list))
	for _, s := range list {
		told = append(told, waiting{tell(s), s.Merged}) // encoded without the lock
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := told[:0]
	for _, w := range told {
		if f.fresh(w.Sample) {
			f.newest[w.Pin] = w.toldSample
			kept = append(kept, w)
		}
	}
	f.hand(kept)
}

// hand puts samples into the queues of those who watch their pins. Caller holds
// mu.
func (f *pinFeed) hand(list []waiting) {
	for c := range f.clients {
		if c.pins == nil {
			c.queue.Put(list...)
			continue
		}
		for i := 0; i < len(list); {
			from := i
			for i < len(list) && c.pins[list[i].Pin] {
				i++
			}
			c.queue.Put(list[from:i]...)
			for i < len(list) && !c.pins[list[i].Pin] {
				i++
			}
		}
	}
}

// answered takes the newest samples as the board answered a watch with them.
// What comes by itself is ahead of that, or older than it; so they count only
// for pins of which nothing is known. Of a board that counts anew nothing is known
// either, and what it has counted so far comes by itself.
func (f *pinFeed) answered(list []s4t.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first []waiting
	for _, s := range list {
		known := f.newest[s.Pin]
		switch {
		case !f.fresh(s), known != nil && s.Seq > known.Seq:
			continue
		case known != nil && s.Seq > 0: // it counts anew, and has counted
			delete(f.newest, s.Pin)
			continue
		}
		w := waiting{tell(s), s.Merged}
		f.newest[s.Pin] = w.toldSample
		first = append(first, w)
	}
	f.hand(first)
}

// want is what has to be watched now; anew: samples may have been missed;
// nobody: no client is left.
func (f *pinFeed) want() (w wire.PinWatch, anew, nobody bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	anew, f.resume = f.resume, false
	all, union := false, map[string]bool{}
	for c := range f.clients {
		all = all || c.pins == nil
		for p := range c.pins {
			union[p] = true
		}
		if w.Caller.Project == "" || w.Caller.Until < c.caller.Until {
			w.Caller = c.caller // who was verified last
		}
	}
	for p := range f.newest {
		if !all && !union[p] {
			delete(f.newest, p) // its samples come no more: none is known any more
		}
	}
	w.Board, w.Sink, w.Pins = string(f.board), f.hub.sink(f.project), sortedPins(all || len(union) > s4t.MaxPinWatch, union)
	if anew && len(f.newest) > 0 {
		w.After = make(map[string]uint64, len(f.newest))
		for p, s := range f.newest {
			w.After[p] = s.Seq
		}
	}
	return w, anew, len(f.clients) == 0
}

// run keeps the watch until no client is left, or the API stops.
func (f *pinFeed) run() {
	var told wire.PinWatch // what the board watches
	ok := false            // the cloud took that
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		renew := false
		select {
		case <-f.hub.api.stopping:
			f.stop(told)
			return
		case <-f.changed:
		case <-timer.C:
			renew = true
		}
		w, anew, nobody := f.want()
		if nobody {
			f.stop(told)
			if f.forget() {
				return
			}
			ok = false
			f.wake() // somebody came meanwhile
			continue
		}
		if ok && !renew && !anew && slices.Equal(w.Pins, told.Pins) {
			continue
		}
		again := f.watch(w)
		told, ok = w, again > retryWatch
		timer.Reset(again)
	}
}

// watch asks for samples, and returns when to ask again.
func (f *pinFeed) watch(w wire.PinWatch) time.Duration {
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), callerKey{}, w.Caller), 2*s4t.PinAnswerTime)
	defer cancel()
	var got wire.PinAnswer
	err := f.hub.api.ask(ctx, wire.MethodPinWatch, w, &got)
	if err == nil {
		f.answered(got.Samples)
		f.gone(nil)
		return wire.PinWatchTerm / 3
	}
	f.hub.api.log.Debug("a board is not watched now; it is tried again", "board", f.board, "err", err)
	f.mu.Lock()
	f.resume = true
	f.mu.Unlock()
	switch s4t.KindOf(err) {
	case s4t.Offline:
		f.gone(err)
		return offlineWatch
	case s4t.NotFound, s4t.Forbidden, s4t.Unauthenticated:
		seen := f.hub.api.ask(ctx, wire.MethodBoardGet, wire.RefRequest{Caller: w.Caller, Ref: string(f.board)}, nil)
		if k := s4t.KindOf(seen); k == s4t.NotFound || k == s4t.Forbidden || k == s4t.Unauthenticated {
			f.end(err, &w.Caller)
			break
		}
		f.gone(err) // a pin of it is gone: it may come back
	}
	return retryWatch
}

// stop tells the cloud that nobody here watches the board any more.
func (f *pinFeed) stop(told wire.PinWatch) {
	if told.Board == "" {
		return
	}
	told.Pins, told.After, told.End = nil, nil, true
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := f.hub.api.queue.Call(ctx, wire.TopicOf(wire.MethodPinWatch), wire.MethodPinWatch, told, nil); err != nil {
		f.hub.api.log.Debug("the end of a watch was not heard; it ends by itself", "board", f.board, "err", err)
	}
}

// forget takes the feed out of the hub, unless it has clients again.
func (f *pinFeed) forget() bool {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.clients) > 0 {
		return false
	}
	delete(f.hub.feeds, f.feedKey)
	return true
}
